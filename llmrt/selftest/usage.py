"""Tokens counted and limits kept: nothing is cut in silence."""

from __future__ import annotations

import re

from llmrt.selftest.check import Checks, NotApplicableError, check, expect
from llmrt.selftest.framing import ASK
from llmrt.selftest.server import CHAT, Server, context_of

CHECKS: Checks = []
TOO_MANY_WORDS = 300_000
_DECIMALS = re.compile(r"[0-9]+")


@check(CHECKS, 14, "usage counts the templated prompt, and says what was cached")
def _c14(server: Server) -> str:
    usage = server.chat(ASK)["usage"]
    expect(usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], usage)
    expect(usage["prompt_tokens"] > 5 and usage["completion_tokens"] > 0, usage)
    expect(isinstance((usage.get("prompt_tokens_details") or {}).get("cached_tokens"), int), usage)
    return f"{usage['prompt_tokens']} + {usage['completion_tokens']} tokens"


@check(CHECKS, 15, "max_tokens and max_completion_tokens are kept, the newer name wins, 0 is no endless answer")
def _c15(server: Server) -> str:
    for fields, most in (({"max_tokens": 3}, 3), ({"max_tokens": 9, "max_completion_tokens": 2}, 2)):
        answer = server.chat(ASK, **fields)
        counted, reason = answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]
        expect((counted, reason) == (most, "length"), f"{fields}: {counted} tokens, {reason}")
    none = server.post(CHAT, server.body(ASK, max_tokens=0))
    if none.status_code == 200:
        choice = none.json()["choices"][0]
        expect(not choice["message"]["content"] and choice["finish_reason"] == "length", choice)
    else:
        expect(none.status_code == 400, f"max_tokens 0: {none.status_code}")
    return f"max_tokens 0 answers {none.status_code}"


@check(CHECKS, 16, "a prompt beyond the context is refused with 400, both numbers and a code that agents match")
def _c16(server: Server) -> str:
    seen = ""
    for stream in (False, True):
        response = server.post(CHAT, server.body(_too_long(server), stream=stream))
        expect(response.status_code == 400, f"stream {stream}: status {response.status_code}: {response.text[:120]}")
        error = response.json()["error"]
        expect(error.get("code") == "context_length_exceeded" and error.get("param") == "messages", error)
        expect(error.get("type") == "invalid_request_error" and len(_DECIMALS.findall(error["message"])) >= 2, error)
        seen = error["message"]
    return seen


@check(CHECKS, 17, "a prompt is counted whole, never cut")
def _c17(server: Server) -> str:
    words = min(400, (context_of(server) or 4096) // 4)
    usage = server.chat("word " * words, max_tokens=1)["usage"]
    expect(usage["prompt_tokens"] >= words, f"{words} words are {usage['prompt_tokens']} tokens")
    refused = server.post(CHAT, server.body(_too_long(server), max_tokens=1))
    expect(refused.status_code != 200, "a prompt beyond the context is answered")
    return f"{words} words are {usage['prompt_tokens']} tokens"


@check(CHECKS, 18, "an answer that the context cannot hold is clamped, and a header says so")
def _c18(server: Server) -> str:
    context = context_of(server)
    if context is None:
        raise NotApplicableError("the server does not say how long its context is")
    body = server.body(ASK, max_tokens=context, stream=True)
    with server.open(CHAT, body) as response:
        named = {name: value for name, value in response.headers.items() if "clamp" in name or "max_tokens" in value}
        expect(response.status_code == 200, f"status {response.status_code}")
        expect(named, f"no header of {sorted(response.headers)} names it")
    return str(named)


def _too_long(server: Server) -> str:
    context = context_of(server)
    return "word " * (TOO_MANY_WORDS if context is None else 2 * context)
