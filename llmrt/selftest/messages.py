"""Conversations as clients keep them."""

from __future__ import annotations

from typing import Any

from llmrt.selftest.check import Checks, check, expect
from llmrt.selftest.framing import ASK
from llmrt.selftest.server import CHAT, Server

CHECKS: Checks = []
CALL: dict[str, Any] = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"x": 1}'}}


@check(CHECKS, 26, "histories with calls render, whatever stands in the place of content")
def _c26(server: Server) -> str:
    spellings: list[dict[str, Any]] = [{"content": None}, {"content": ""}, {}]
    results: list[Any] = ["18 degrees", [{"type": "text", "text": "18 degrees"}]]
    for spelling in spellings:
        for result in results:
            server.chat(
                [
                    {"role": "user", "content": "What is the weather?"},
                    {"role": "assistant", "tool_calls": [CALL], **spelling},
                    {"role": "tool", "tool_call_id": "call_1", "content": result},
                ],
                max_tokens=2,
            )
    server.chat(
        [*_said("Hi", "Hello"), {"role": "assistant", "content": "Yes?", "tool_calls": []}, *_said("Bye")], max_tokens=2
    )
    return "6 histories and an empty list of calls"


@check(CHECKS, 27, "developer and several system messages are accepted, and a template's refusal is no 500")
def _c27(server: Server) -> str:
    server.chat([{"role": "developer", "content": "Be brief."}, *_said("Hi")], max_tokens=2)
    server.chat(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Be kind."},
            *_said("Hi", "Hello", "Bye"),
        ],
        max_tokens=2,
    )
    refused = server.post(CHAT, server.body([{"role": "wizard", "content": "Hi"}]))
    if refused.status_code == 200:
        return "the template takes any role"
    expect(refused.status_code == 400, f"an unknown role: status {refused.status_code}")
    return f"an unknown role: {refused.json()['error']['message']}"


@check(CHECKS, 28, "thoughts have fields of their own, under both names, and are taken back")
def _c28(server: Server) -> str:
    message = server.chat(ASK, max_tokens=40)["choices"][0]["message"]
    expect("<think>" not in (message["content"] or ""), message["content"])
    expect(message.get("reasoning") == message.get("reasoning_content"), message)
    for name in ("reasoning", "reasoning_content"):
        server.chat([*_said("Hi"), {"role": "assistant", "content": "Hello", name: "Hm."}, *_said("Bye")], max_tokens=2)
    return "the model thinks" if message.get("reasoning") else "the model does not think; thoughts are taken back"


@check(CHECKS, 29, "content may be a list of parts for every role, and a part that is not served is 400")
def _c29(server: Server) -> str:
    for role in ("system", "user", "assistant"):
        parts = [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}]
        server.chat([{"role": role, "content": parts}, *_said("Hi")], max_tokens=2)
    part = {"type": "no_such_part"}
    response = server.post(CHAT, server.body([{"role": "user", "content": [{"type": "text", "text": "Hi"}, part]}]))
    expect(response.status_code == 400, f"status {response.status_code}")
    error = response.json()["error"]
    expect("1" in f"{error.get('param')} {error['message']}", error)
    return str(error["message"])


@check(CHECKS, 40, "an answer can be begun for the model, and two beginnings are 400")
def _c40(server: Server) -> str:
    begun = [*_said("What is the capital of France?"), {"role": "assistant", "content": "The capital of France is"}]
    text = server.chat(begun, max_tokens=4)["choices"][0]["message"]["content"]
    expect(text, "no continuation")
    twice = server.post(CHAT, server.body([*begun, {"role": "assistant", "content": "and"}]))
    expect(twice.status_code == 400, f"two beginnings: status {twice.status_code}")
    return repr(text)


def _said(*texts: str) -> list[dict[str, Any]]:
    """Turns in alternation, the user's first."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
