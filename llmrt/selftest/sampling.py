"""The same request, the same answer."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from llmrt.selftest.check import Checks, check, expect
from llmrt.selftest.framing import ASK, UNICODE
from llmrt.selftest.server import CHAT, Server

CHECKS: Checks = []
# Longer than what caches keep as one piece.
LONG = " ".join(f"The river number {i} flows into the lake number {i + 1}." for i in range(7)) + " What is told here?"
DRAWN: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "seed": 7}


@check(CHECKS, 23, "log-probabilities are numbers, their bytes are the answer's, and asking wrongly is 400")
def _c23(server: Server) -> str:
    choice = server.chat(UNICODE, logprobs=True, top_logprobs=3)["choices"][0]
    entries = choice["logprobs"]["content"]
    for entry in entries:
        expect({"token", "logprob", "bytes", "top_logprobs"} <= set(entry), f"keys {sorted(entry)}")
        expect(math.isfinite(entry["logprob"]) and entry["logprob"] <= 0, entry)
        expect(len(entry["top_logprobs"]) == 3, f"{len(entry['top_logprobs'])} top_logprobs")
    spelled = bytes(byte for entry in entries for byte in entry["bytes"] or ()).decode(errors="replace")
    expect(spelled.startswith(choice["message"]["content"]), f"bytes are {spelled!r}")
    wrong = server.post(CHAT, server.body(ASK, top_logprobs=3))
    expect(wrong.status_code == 400, f"top_logprobs without logprobs: status {wrong.status_code}")
    body = {"model": server.model, "prompt": "1 2 3", "max_tokens": 3, "logprobs": 2}
    text = server.ok("/v1/completions", body)["choices"][0]["logprobs"]
    expect({"tokens", "token_logprobs", "top_logprobs", "text_offset"} <= set(text), f"keys {sorted(text)}")
    return f"{len(entries)} tokens"


@check(CHECKS, 24, "several choices differ, repeat with their seed, and are all counted")
def _c24(server: Server) -> str:
    fields: dict[str, Any] = {**DRAWN, "temperature": 1.5, "n": 3}
    answers = [server.chat(ASK, **fields) for _ in range(2)]
    texts = [[choice["message"]["content"] for choice in answer["choices"]] for answer in answers]
    expect([choice["index"] for choice in answers[0]["choices"]] == [0, 1, 2], answers[0]["choices"])
    expect(len(set(texts[0])) > 1, f"all choices are {texts[0][0]!r}")
    expect(texts[0] == texts[1], f"{texts[0]} and then {texts[1]}")
    one = server.chat(ASK, **{**fields, "n": 1})["usage"]["completion_tokens"]
    counted = answers[0]["usage"]["completion_tokens"]
    expect(counted > one, f"three choices count {counted} tokens, one {one}")
    stream = server.stream(ASK, **fields)
    expect([stream.content(index) for index in range(3)] == texts[0], "streamed choices differ")
    return f"{counted} tokens in 3 choices"


@check(CHECKS, 36, "a seed draws the same text, whatever else is computed")
def _c36(server: Server) -> str:
    alone = _text(server, ASK, 7)
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(_text, server, f"Tell me about the number {i}.", i) for i in range(3)]
        beside = pool.submit(_text, server, ASK, 7).result()
        for other in others:
            other.result()
    expect(beside == alone, f"alone {alone!r}, beside others {beside!r}")
    return repr(alone[:60])


@check(CHECKS, 37, "greedy text is the same with a cold and a warm cache")
def _c37(server: Server) -> str:
    answers = [server.chat(LONG, max_tokens=40) for _ in range(3)]
    texts = {answer["choices"][0]["message"]["content"] for answer in answers}
    cached = [(answer["usage"].get("prompt_tokens_details") or {}).get("cached_tokens") for answer in answers]
    expect(len(texts) == 1, f"{texts}")
    return f"cached tokens {cached}"


def _text(server: Server, ask: str, seed: int) -> str:
    return server.chat(ask, **{**DRAWN, "seed": seed})["choices"][0]["message"]["content"]
