"""Answers that must have a form."""

from __future__ import annotations

import json
from typing import Any

from llmrt.selftest.check import Checks, check, expect
from llmrt.selftest.server import CHAT, Server

CHECKS: Checks = []
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["river", "lake"]},
        "depth": {"type": "integer", "minimum": 3, "maximum": 7},
        "child": {"anyOf": [{"$ref": "#/$defs/leaf"}, {"type": "null"}]},
    },
    "required": ["kind", "depth", "child"],
    "additionalProperties": False,
    "$defs": {
        "leaf": {
            "type": "object",
            "properties": {"tag": {"const": "leaf"}},
            "required": ["tag"],
            "additionalProperties": False,
        }
    },
}


def _format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, "strict": True}}


@check(CHECKS, 12, "an answer that is cut within its schema ends with length, never stop")
def _c12(server: Server) -> str:
    choice = server.chat("Describe a river.", response_format=_format(SCHEMA), max_tokens=2)["choices"][0]
    expect(choice["finish_reason"] == "length", choice)
    return repr(choice["message"]["content"])


@check(CHECKS, 32, "schemas bind, and what cannot be enforced is 400")
def _c32(server: Server) -> str:
    text = server.chat("Describe a river.", response_format=_format(SCHEMA), max_tokens=200)
    found = json.loads(text["choices"][0]["message"]["content"])
    expect(set(found) == {"kind", "depth", "child"} and found["kind"] in ("river", "lake"), found)
    expect(isinstance(found["depth"], int) and 3 <= found["depth"] <= 7, found)
    expect(found["child"] in (None, {"tag": "leaf"}), found)
    some = server.chat("Describe a river in JSON.", response_format={"type": "json_object"}, max_tokens=200)
    if some["choices"][0]["finish_reason"] == "stop":
        expect(isinstance(json.loads(some["choices"][0]["message"]["content"]), dict), some["choices"][0])
    for wrong in ({"type": "string", "pattern": "(["}, "a string", {"type": "integer", "minimum": 9, "maximum": 1}):
        response = server.post(CHAT, server.body("x", response_format=_format(wrong)))
        expect(response.status_code == 400, f"{wrong}: status {response.status_code}")
    return json.dumps(found)
