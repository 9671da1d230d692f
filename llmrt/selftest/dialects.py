"""Anthropic's and Ollama's ways to ask, where the server has them."""

from __future__ import annotations

import json

from llmrt.selftest.check import Checks, NotApplicableError, check, expect
from llmrt.selftest.framing import ASK
from llmrt.selftest.server import Server

CHECKS: Checks = []
MESSAGES, OLLAMA = "/v1/messages", "/api/chat"
ABSENT = (404, 405, 501)


@check(CHECKS, 46, "Anthropic's messages: events in order, usage, and errors in their own form")
def _c46(server: Server) -> str:
    body = {"model": server.model, "max_tokens": 12, "messages": [{"role": "user", "content": ASK}]}
    headers = {"x-api-key": server.api_key or "any", "anthropic-version": "2023-06-01"}
    wrong = server.post(MESSAGES, {**body, "max_tokens": "many"}, headers)
    if wrong.status_code in ABSENT:
        raise NotApplicableError(f"{MESSAGES} answers {wrong.status_code}")
    error = wrong.json()
    expect(wrong.status_code == 400 and error["type"] == "error" and error["error"]["message"], error)
    events = server.stream_of(MESSAGES, {**body, "stream": True}, headers).chunks
    kinds = [event["type"] for event in events if event["type"] != "ping"]
    outer = [kinds[0], kinds[1], kinds[-3], kinds[-2], kinds[-1]]
    expect(
        outer == ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"], kinds
    )
    end = next(event for event in events if event["type"] == "message_delta")
    expect(end["delta"]["stop_reason"] in ("end_turn", "max_tokens") and end["usage"]["output_tokens"] > 0, end)
    return f"{len(events)} events, {end['delta']['stop_reason']}"


@check(CHECKS, 47, "Ollama's chat: JSON lines, the last with counts and durations")
def _c47(server: Server) -> str:
    body = {
        "model": server.model,
        "messages": [{"role": "user", "content": ASK}],
        "options": {"num_predict": 12, "temperature": 0},
    }
    stream = server.stream_of(OLLAMA, body)
    if stream.status in ABSENT:
        raise NotApplicableError(f"{OLLAMA} answers {stream.status}")
    expect(stream.status == 200, stream.text)
    *pieces, last = [json.loads(line) for line in stream.text.splitlines()]
    expect(pieces and not any(piece["done"] for piece in pieces), "done comes early")
    expect(last["done"] and last["done_reason"] in ("stop", "length"), last)
    counts = ("prompt_eval_count", "eval_count", "total_duration", "eval_duration")
    expect(all(isinstance(last.get(name), int) for name in counts), last)
    return f"{last['eval_count']} tokens, {last['done_reason']}"
