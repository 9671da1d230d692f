"""Requests that cannot be served, and what clients are told."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx2

from llmrt.selftest.check import Checks, NotApplicableError, check, expect
from llmrt.selftest.framing import ASK
from llmrt.selftest.server import CHAT, Server

CHECKS: Checks = []
MOST_OPEN = 200
HARMLESS: dict[str, Any] = {
    "store": False,
    "metadata": {"a": "b"},
    "user": "someone",
    "service_tier": "auto",
    "prompt_cache_key": "key",
    "safety_identifier": "someone",
    "verbosity": "medium",
}


@check(CHECKS, 8, "what a client did wrong is answered with 4xx, for 5xx is sent again")
def _c8(server: Server) -> str:
    wrong = {
        "bad JSON": server.request("POST", CHAT, content=b"{", headers={"content-type": "application/json"}),
        "an empty body": server.request("POST", CHAT, content=b"", headers={"content-type": "application/json"}),
        "a message without a role": server.post(CHAT, server.body([{"content": "x"}])),
        "a list for a body": server.post(CHAT, []),
    }
    for what, response in wrong.items():
        expect(400 <= response.status_code < 500, f"{what}: {response.status_code}")
        expect(response.status_code not in (408, 409, 429), f"{what}: {response.status_code}")
    return ", ".join(f"{what} {response.status_code}" for what, response in wrong.items())


@check(CHECKS, 9, "errors have the body that clients unwrap")
def _c9(server: Server) -> str:
    for response in (server.post(CHAT, server.body(ASK, temperature="hot")), server.get("/v1/models/no-such-model")):
        expect(response.status_code in (400, 404, 422), f"status {response.status_code}")
        error = response.json()["error"]
        expect({"message", "type", "param", "code"} <= set(error), f"keys {sorted(error)}")
    return str(error["message"])


@check(CHECKS, 19, "an unknown model is 404 model_not_found")
def _c19(server: Server) -> str:
    response = server.post(CHAT, server.body(ASK) | {"model": "no-such-model"})
    expect(response.status_code == 404, f"status {response.status_code}")
    error = response.json()["error"]
    expect((error["code"], error["param"]) == ("model_not_found", "model"), error)
    expect(server.chat(ASK)["model"] == server.model, "the model is not echoed")
    return str(error["message"])


@check(CHECKS, 20, "a wrong key is 401 invalid_api_key, and /health needs none")
def _c20(server: Server) -> str:
    response = server.get("/v1/models", headers={"Authorization": "Bearer no-such-key"})
    if response.status_code == 200:
        raise NotApplicableError("the server asks for no key")
    expect(response.status_code == 401, f"status {response.status_code}")
    expect(response.json()["error"]["code"] == "invalid_api_key", response.text)
    expect("www-authenticate" in response.headers, "no WWW-Authenticate")
    health = httpx2.get(f"{server.url}/health")
    expect(health.status_code == 200, f"/health: {health.status_code}")
    return "401 and WWW-Authenticate"


@check(CHECKS, 33, "harmless fields of newer clients are accepted")
def _c33(server: Server) -> str:
    server.chat(ASK, **HARMLESS)
    return ", ".join(HARMLESS)


@check(CHECKS, 38, "logit_bias takes token ids as strings, and refuses ids that are not there")
def _c38(server: Server) -> str:
    server.chat(ASK, logit_bias={"0": -100, "1": 5})
    for bias in ({"999999999": 1}, {"0": 101}, {"word": 1}):
        response = server.post(CHAT, server.body(ASK, logit_bias=bias))
        expect(response.status_code == 400, f"{bias}: status {response.status_code}")
    return "ids and values out of range are 400"


@check(CHECKS, 39, "values out of range are 400 and name the field; wrong methods and paths are 405 and 404 in JSON")
def _c39(server: Server) -> str:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"temperature": 3}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages"),
    ]
    for fields, name in wrong:
        response = server.post(CHAT, {**server.body(ASK), **fields})
        expect(response.status_code == 400, f"{fields}: status {response.status_code}")
        param = response.json()["error"].get("param") or ""
        expect(param.startswith(name), f"{fields}: param {param!r}")
    plain = server.request("POST", CHAT, content=b"hello", headers={"content-type": "text/plain"})
    expect(plain.status_code in (400, 415), f"text/plain: status {plain.status_code}")
    method = server.get(CHAT)
    expect(method.status_code == 405, f"GET: status {method.status_code}")
    path = server.get("/v1/no-such-path")
    expect(path.status_code == 404 and path.json()["error"], f"unknown path: status {path.status_code}")
    return f"{len(wrong)} values, 405, 404"


@check(CHECKS, 42, "a full queue is 429 or 503 with Retry-After, not a wait")
def _c42(server: Server) -> str:
    if "hang" not in server.orders:
        raise NotApplicableError("the queue cannot be filled from outside without harm")
    body = server.body(server.orders["hang"], stream=True)
    with contextlib.ExitStack() as held:
        for count in range(MOST_OPEN):
            response = held.enter_context(server.open(CHAT, body))
            if response.status_code != 200:
                expect(response.status_code in (429, 503), f"status {response.status_code}")
                expect("retry-after" in response.headers, "no Retry-After")
                return f"request {count + 1} answers {response.status_code}"
    return f"{MOST_OPEN} requests are held"
