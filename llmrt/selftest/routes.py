"""The routes beside the chat."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

from llmrt.selftest.check import Checks, NotApplicableError, check, expect
from llmrt.selftest.framing import ASK
from llmrt.selftest.server import CHAT, Server, context_of

CHECKS: Checks = []
COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"


@check(CHECKS, 10, "embeddings come in base64 when asked, of texts and of token ids")
def _c10(server: Server) -> str:
    response = server.post(EMBEDDINGS, {"model": server.model, "input": "hello"})
    if response.status_code in (400, 404, 405, 501):
        raise NotApplicableError(f"/v1/embeddings answers {response.status_code}")
    numbers = response.json()["data"][0]["embedding"]
    packed = _embedding(server, "hello", encoding_format="base64")
    expect(isinstance(packed, str), f"base64 is a {type(packed).__name__}")
    unpacked = struct.unpack(f"<{len(numbers)}f", base64.b64decode(packed))
    expect(all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(numbers, unpacked, strict=True)), "other numbers")
    for tokens in ([1, 2, 3], [[1, 2, 3], [4, 5]]):
        server.ok(EMBEDDINGS, {"model": server.model, "input": tokens})
    return f"{len(numbers)} numbers"


@check(
    CHECKS,
    41,
    "completions take texts, token ids and lists of both; echo repeats the prompt; the rest is served or 400",
)
def _c41(server: Server) -> str:
    ask: dict[str, Any] = {"model": server.model, "max_tokens": 3, "temperature": 0}
    for prompt, count in (("1 2 3", 1), (["1 2", "3 4"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)):
        choices = server.ok(COMPLETIONS, {**ask, "prompt": prompt})["choices"]
        expect(len(choices) == count and all(isinstance(c["text"], str) for c in choices), choices)
    echoed = server.ok(COMPLETIONS, {**ask, "prompt": "1 2 3", "echo": True})["choices"][0]["text"]
    expect(echoed.startswith("1 2 3"), f"echo: {echoed!r}")
    rare: dict[str, Any] = {"suffix": "9", "best_of": 2}
    answers = {name: server.post(COMPLETIONS, {**ask, "prompt": "1", name: rare[name]}) for name in rare}
    for name, response in answers.items():
        expect(response.status_code in (200, 400), f"{name}: status {response.status_code}")
        expect(response.status_code == 400 or len(response.json()["choices"]) == 1, f"{name}: {response.text}")
    return ", ".join(f"{name} {response.status_code}" for name, response in answers.items())


@check(CHECKS, 43, "models are listed with their context length")
def _c43(server: Server) -> str:
    listed = server.get("/v1/models").json()
    expect(listed["object"] == "list", listed)
    for entry in listed["data"]:
        expect(entry["object"] == "model" and {"id", "created", "owned_by"} <= set(entry), entry)
    context = context_of(server)
    expect(isinstance(context, int), f"no context length of {server.model} in {listed['data']}")
    return f"{context} tokens"


@check(CHECKS, 44, "x-request-id is echoed, and made where there is none")
def _c44(server: Server) -> str:
    given = server.post(CHAT, server.body(ASK, max_tokens=1), headers={"x-request-id": "selftest-44"})
    expect(given.headers.get("x-request-id") == "selftest-44", f"{given.headers.get('x-request-id')!r}")
    made = server.post(CHAT, server.body(ASK, max_tokens=1)).headers.get("x-request-id")
    expect(made, "none is made")
    return str(made)


def _embedding(server: Server, text: str, **fields: Any) -> Any:
    return server.ok(EMBEDDINGS, {"model": server.model, "input": text, **fields})["data"][0]["embedding"]
