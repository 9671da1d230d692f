"""What ``/v1/messages`` refuses, in Anthropic's form, and what it names in headers."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx
import pytest
from serving import Served, eventually
from test_anthropic import TOOLS_HERE, asked


def error_of(response: httpx.Response, status: int) -> dict[str, str]:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"type", "error"} and body["type"] == "error" and set(body["error"]) == {"type", "message"}
    return body["error"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        (
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "document", "source": {}}]}
                        ],
                    },
                ]
            },
            "messages[1].content[0].content[0]",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f"}]}]},
            "messages[0].content[0].input",
        ),
        ({"system": 5}, "system"),
        ({"system": [{"type": "image"}]}, "system[0]"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"temperature": 3}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        (
            {"tools": [{"name": "f", "strict": True, "input_schema": {"type": "object", "not": {}}}]},
            "tools[0].input_schema",
        ),
        ({"tools": TOOLS_HERE, "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": TOOLS_HERE, "tool_choice": {"type": "tool", "name": "h"}}, "tool_choice"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
        ({"container": "c"}, "container"),
    ],
)
def test_c9_c46_faults_name_their_field(thinker: httpx.Client, fields: dict[str, Any], name: str) -> None:
    for stream in (False, True):
        error = error_of(thinker.post("/v1/messages", json=asked("hi") | {"stream": stream} | fields), 400)
        assert error["type"] == "invalid_request_error" and error["message"].startswith(name), error
        assert "function" not in error["message"] and "response_format" not in error["message"]


def test_c9_c46_the_status_decides_the_type_of_an_error(
    claude: anthropic.Anthropic, thinker: httpx.Client, thinking_server: Served
) -> None:
    with pytest.raises(anthropic.NotFoundError, match="not_found_error"):
        claude.messages.create(**{**asked("hi"), "model": "claude-sonnet-4"})
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 4096 maximum"):
        claude.messages.create(**asked("long " * 4096))
    assert error_of(thinker.get("/v1/messages"), 405)["type"] == "invalid_request_error"
    assert error_of(thinker.post("/v1/messages/batches", json={}), 404)["type"] == "not_found_error"
    assert error_of(thinker.post("/v1/messages", content=b"<"), 400)["message"].startswith("The request body is not")
    too_large = thinker.post("/v1/messages", content=b" " * 50_000_000)
    assert error_of(too_large, 413)["type"] == "request_too_large"
    streams = [claude.messages.stream(**asked("@hang")) for _ in range(4)]
    for stream in streams:
        stream.__enter__()
    try:
        with pytest.raises(anthropic.RateLimitError) as caught:
            claude.messages.create(**asked("hi"))
        assert caught.value.response.headers["retry-after"]
    finally:
        for stream in streams:
            stream.__exit__(None, None, None)
    eventually(lambda: not running_now(thinker))


def test_c46_paths_that_others_have_too_answer_a_client_in_its_own_form(
    claude: anthropic.Anthropic, thinker: httpx.Client
) -> None:
    with pytest.raises(anthropic.NotFoundError, match="not_found_error"):
        claude.models.retrieve("claude-sonnet-4")
    with pytest.raises(anthropic.BadRequestError, match="invalid_request_error"):
        claude.models.list(limit=0)
    with pytest.raises(anthropic.NotFoundError, match="not_found_error"):
        claude.beta.files.list()
    assert thinker.get("/v1/models/none", headers={"x-api-key": "k"}).json()["error"]["code"] == "model_not_found"


def running_now(http: httpx.Client) -> bool:
    return http.post("/v1/messages", json=asked("hi")).status_code == 429


def test_c11_c46_a_stream_that_fails_ends_with_an_error_event(claude: anthropic.Anthropic) -> None:
    match = "the engine failed midway"
    ask = asked("@fail")
    with pytest.raises(anthropic.APIStatusError, match=match) as caught, claude.messages.stream(**ask) as stream:
        stream.until_done()
    body: Any = caught.value.body
    assert body["type"] == "error" and body["error"]["type"] == "api_error"
    with pytest.raises(anthropic.InternalServerError, match=match):
        claude.messages.create(**ask)


def test_c6_unknown_fields_are_named_and_known_ones_without_effect_are_not(thinker: httpx.Client) -> None:
    tool = {**TOOLS_HERE[0], "cache_control": {"type": "ephemeral"}, "input_examples": []}
    fields = {"metadata": {"user_id": "me"}, "service_tier": "auto", "new_field": 1, "tools": [tool]}
    response = thinker.post("/v1/messages", json=asked("hi", **fields), headers={"anthropic-version": "2023-06-01"})
    assert response.headers["x-llmrt-ignored"] == "new_field, tools.0.input_examples"


def test_old_thoughts_are_kept_as_claude_code_asks_and_never_cleared(thinker: httpx.Client) -> None:
    for keep, status in (("all", 200), ({"type": "thinking_turns", "value": 1}, 400)):
        edits = [{"type": "clear_thinking_20251015", "keep": keep}]
        response = thinker.post("/v1/messages", json=asked("hi", context_management={"edits": edits}))
        assert response.status_code == status and "x-llmrt-ignored" not in response.headers


def test_c18_a_clamp_is_named(thinker: httpx.Client) -> None:
    response = thinker.post("/v1/messages", json=asked("hi", max_tokens=100_000))
    assert response.headers["x-llmrt-clamped"].startswith("max_tokens=40")
