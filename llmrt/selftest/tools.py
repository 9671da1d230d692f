"""Calls of functions."""

from __future__ import annotations

import json
from typing import Any

from llmrt.selftest.check import Checks, check, expect
from llmrt.selftest.framing import ASK
from llmrt.selftest.server import CHAT, Server, Stream

CHECKS: Checks = []
CITIES = ["Paris", "東京"]
UNITS = ["C", "F"]
LENGTH = 200
QUESTION = "What is the weather in Paris, in degrees Celsius?"


def _function(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }
    description = f"Tells the {name}."
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters, "strict": True},
    }


WEATHER = _function("weather", city={"type": "string", "enum": CITIES}, unit={"type": "string", "enum": UNITS})
CLOCK = _function("clock", city={"type": "string", "enum": CITIES})
FORCED: dict[str, Any] = {"tools": [WEATHER, CLOCK], "tool_choice": "required", "max_tokens": LENGTH}


@check(CHECKS, 6, "every piece of a streamed call has an index, counted from 0")
def _c6(server: Server) -> str:
    pieces = _pieces(server.stream(QUESTION, **FORCED))
    expect(pieces, "no call is streamed")
    indexes = [piece["index"] for piece in pieces if isinstance(piece.get("index"), int)]
    expect(len(indexes) == len(pieces), "a piece has no index")
    expect(sorted(set(indexes)) == [*range(max(indexes) + 1)], f"indexes {indexes}")
    return f"{len(pieces)} pieces of {max(indexes) + 1} calls"


@check(CHECKS, 7, "a streamed call begins with id, type and name, and goes on with arguments alone")
def _c7(server: Server) -> str:
    stream = server.stream(QUESTION, **FORCED)
    begun: dict[int, str] = {}
    for piece in _pieces(stream):
        index = piece["index"]
        if index in begun:
            expect(set(piece) <= {"index", "function"} and set(piece["function"]) == {"arguments"}, piece)
        else:
            begun[index] = piece["id"]
            expect(piece["type"] == "function" and piece["function"]["name"], piece)
            expect(piece["function"]["arguments"] == "", piece)
    expect(begun and len(set(begun.values())) == len(begun), f"ids {begun}")
    return f"ids {[*begun.values()]}"


@check(CHECKS, 25, "finish_reason is tool_calls if, and only if, there are calls")
def _c25(server: Server) -> str:
    """One call at most: a small model goes on calling until its answer is cut, which is "length" with calls."""
    seen: list[str] = []
    for tool_choice in ("required", "none", "auto"):
        fields = {**FORCED, "tool_choice": tool_choice, "parallel_tool_calls": False}
        choice = server.chat(QUESTION, **fields)["choices"][0]
        calls, reason = bool(choice["message"].get("tool_calls")), choice["finish_reason"]
        expect(calls == (reason == "tool_calls"), f"{tool_choice}: {reason} with calls: {calls}")
        seen.append(f"{tool_choice}: {reason}")
    return ", ".join(seen)


@check(CHECKS, 30, "tool_choice is obeyed: none, required, a name; an unknown name is 400")
def _c30(server: Server) -> str:
    expect(not _names(server, tool_choice="none"), "none calls a function")
    required = _names(server, tool_choice="required")
    expect(required and set(required) <= {"weather", "clock"}, f"required calls {required}")
    for name in ("weather", "clock"):
        named = _names(server, tool_choice={"type": "function", "function": {"name": name}})
        expect(named and set(named) == {name}, f"{name} is named, {named} called")
    unknown = {"type": "function", "function": {"name": "no_such_function"}}
    response = server.post(CHAT, server.body(ASK, **{**FORCED, "tool_choice": unknown}))
    expect(response.status_code == 400, f"an unknown name: status {response.status_code}")
    return f"required calls {required}"


@check(CHECKS, 31, "streamed arguments are JSON that obeys the schema, of one call where only one may be")
def _c31(server: Server) -> str:
    stream = server.stream(QUESTION, **{**FORCED, "parallel_tool_calls": False})
    pieces = _pieces(stream)
    expect(pieces, "no call is streamed")
    expect({piece["index"] for piece in pieces} == {0}, "more than one call")
    arguments = json.loads("".join(piece["function"].get("arguments", "") for piece in pieces))
    name = pieces[0]["function"]["name"]
    wanted = {"weather": {"city": CITIES, "unit": UNITS}, "clock": {"city": CITIES}}[name]
    expect(set(arguments) == set(wanted), f"{name}({arguments})")
    expect(all(arguments[key] in values for key, values in wanted.items()), f"{name}({arguments})")
    return f"{name}({json.dumps(arguments, ensure_ascii=False)})"


def _pieces(stream: Stream) -> list[dict[str, Any]]:
    return [piece for delta in stream.deltas() for piece in delta.get("tool_calls") or ()]


def _names(server: Server, **fields: Any) -> list[str]:
    message = server.chat(QUESTION, **{**FORCED, **fields})["choices"][0]["message"]
    return [call["function"]["name"] for call in message.get("tool_calls") or ()]
