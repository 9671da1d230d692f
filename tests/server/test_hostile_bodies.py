"""Bodies that are made to cost much: each is answered or refused with a line, soon, and the server goes on."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import BaseModel, ValidationError
from serving import CHATML, chat, content, error_of, serving, write_model

from llmrt.config import ServerSettings
from llmrt.server.dialects.anthropic.body import MessagesBody
from llmrt.server.dialects.ollama.body import EmbedBody, OllamaChatBody
from llmrt.server.dialects.responses.body import ResponsesBody
from llmrt.server.extra_fields import check_extra_fields, ignored_header
from llmrt.server.fields import as_body
from llmrt.server.schemas import ChatBody, CompletionBody, StructuredOutputs
from llmrt.text import chat_template
from llmrt.text.template_process import TemplateProcess

DEEP = 10_000


def deep_schema(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize"])
def test_c39_a_body_that_is_nested_without_end(http: httpx.Client, path: str) -> None:
    for body in (b'{"messages":' + b"[" * DEEP + b"]" * DEEP + b"}", b'{"a":' * DEEP + b"1" + b"}" * DEEP):
        error_of(http.post(path, content=body, headers={"content-type": "application/json"}), 400)


@pytest.mark.parametrize("depth", [50, 300, 900, DEEP])
def test_arguments_of_a_call_that_are_nested_are_text_or_refused(thinker: httpx.Client, depth: int) -> None:
    function = {"name": "f", "arguments": '{"a":' * depth + "1" + "}" * depth}
    call = {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    results = [{"role": "tool", "tool_call_id": "1", "content": "2"}, {"role": "user", "content": "hi"}]
    response = thinker.post("/v1/chat/completions", json={"messages": [call, *results], "max_tokens": 1})
    assert response.status_code in (200, 400), response.text


def test_c33_only_the_first_of_many_unknown_fields_are_looked_at_for_misspellings(http: httpx.Client) -> None:
    response = chat(http, "hi", **{f"a{i}": 1 for i in range(100_000)}, temprature=1)
    assert response.headers["x-llmrt-ignored"].endswith("a19, and 99981 more")


def test_c33_the_name_of_an_unknown_field_is_not_copied_whole() -> None:
    body = as_body(ChatBody, {"messages": [{"role": "user", "content": "hi"}], "é" * 1_000_000: 1})
    tracemalloc.start()
    try:
        assert ignored_header(check_extra_fields(body)) == {"x-llmrt-ignored": "?" * 64}
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        (ChatBody, "messages"),
        (ChatBody, "tools"),
        (CompletionBody, "stop_token_ids"),
        (StructuredOutputs, "choice"),
        (MessagesBody, "messages"),
        (MessagesBody, "system"),
        (ResponsesBody, "input"),
        (OllamaChatBody, "messages"),
        (EmbedBody, "input"),
    ],
)
def test_c39_of_a_million_faulty_items_the_first_is_kept(schema: type[BaseModel], field: str) -> None:
    def faults(count: int) -> int:
        with pytest.raises(ValidationError) as caught:
            schema.model_validate({field: [None] * count})
        return caught.value.error_count()

    assert faults(1) == faults(9)


def test_c39_of_a_million_faulty_values_the_first_is_kept() -> None:
    with pytest.raises(ValidationError) as caught:
        ResponsesBody.model_validate({"input": "hi", "metadata": {str(i): i for i in range(9)}})
    assert caught.value.error_count() == 1


def test_c39_so_many_tools_are_not_looked_at(http: httpx.Client) -> None:
    error = error_of(chat(http, "hi", tools=[{"function": {"name": "f"}}] * 4097), 400)
    assert error["message"].startswith("tools: list should have at most 4096 items")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"regex": "a" * 1_000_000}, "has 1000000 characters"),
        ({"regex": "(" * 8000 + "a" + ")" * 8000}, "nested parentheses"),
        ({"json": '{"const": "\\ud800"}'}, "has half a surrogate pair"),
        ({"json": "[" * 100_000}, "is not valid JSON: it is nested too deeply"),
        ({"json": deep_schema(60)}, "is nested too deeply"),
        ({"json": {"enum": [f"value {i}" for i in range(100_000)]}}, "characters; "),
        ({"json": {"allOf": [{"anyOf": [{"pattern": f"a{i}"}, {"pattern": f"b{i}"}]} for i in range(18)]}}, ""),
        ({"choice": [str(i) for i in range(100_000)]}, "100000 choices"),
        ({"grammar": "start: " + "(" * 50_000 + '"a"' + ")" * 50_000}, "nested"),
        ({"grammar": "root ::= " + "(" * 50_000 + '"a"' + ")" * 50_000}, "recursion"),
        ({"grammar": 'start: "' + "a" * 1_000_000 + '"'}, "has 1000009 characters"),
        ({"grammar": "start: %json " + '{"a":' * 20_000 + "1" + "}" * 20_000}, "%json"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_c32_a_grammar_that_is_too_large_is_a_400(http: httpx.Client, asked: dict[str, Any], reason: str) -> None:
    error = error_of(chat(http, "hi", structured_outputs=asked), 400)
    assert str(error["param"]).startswith("structured_outputs"), error
    assert reason in error["message"]
    assert len(error["message"]) < 2000
    assert content(chat(http, "still here")) == "still here"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "tiny-chat/../tiny-chat", "a\x00b", ""])
def test_c19_a_model_is_a_name_and_never_a_path(http: httpx.Client, name: str) -> None:
    assert error_of(chat(http, "hi", model=name), 404)["code"] == "model_not_found"
    assert error_of(http.get(f"/v1/models/{quote(name, safe='')}"), 404)["code"] in ("model_not_found", "unknown_url")


HOSTILE = """\
{%- if 'turn' in messages[0].content -%}
  {%- for i in range(99999) -%}{%- for j in range(99999) -%}{%- endfor -%}{%- endfor -%}
{%- endif -%}"""


def test_a_template_that_never_ends_is_a_400_and_the_server_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "TEMPLATES", TemplateProcess(seconds=0.3))
    path = write_model(tmp_path / "hostile", template=HOSTILE + CHATML)
    with serving(path, ServerSettings()) as served, served.http() as http:
        error = error_of(chat(http, "turn and turn"), 400)
        assert error["code"] == "chat_template_error" and "seconds of the processor" in error["message"]
        assert content(chat(http, "go on")) == "go on"
