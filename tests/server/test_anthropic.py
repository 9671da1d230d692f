"""``/v1/messages`` with Anthropic's client, against the scripted engine, which answers with the user's message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from serving import Served, aborted, content, eventually, grammar_of, running, serving, write_model
from test_tools import SCHEMA, TOOLS, hermes
from tool_templates import QWEN

from llmrt.config import EngineConfig, ServerSettings

MODEL = "tiny-alias"
TOOLS_HERE: Any = [
    {
        "name": tool["function"]["name"],
        "description": "Does it.",
        "input_schema": tool["function"].get("parameters", {}),
    }
    for tool in TOOLS
]


@pytest.fixture(scope="module")
def thinking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model whose template shows tools and has thoughts with a switch."""
    path = write_model(tmp_path_factory.mktemp("messages") / "model", template=QWEN)
    settings = ServerSettings(ping_seconds=0.05, max_open_requests=4)
    with serving(path, settings, EngineConfig(context_length=4096)) as served:
        yield served


@pytest.fixture(scope="module")
def claude(thinking_server: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=thinking_server.url, api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture(scope="module")
def thinker(thinking_server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=thinking_server.url, timeout=20) as http:
        yield http


def asked(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 2000, "messages": [{"role": "user", "content": text}], **fields}


def both(client: anthropic.Anthropic, text: str, **fields: Any) -> anthropic.types.Message:
    """The whole answer, which must be the streamed one's."""
    ask = asked(text, **fields)
    whole = client.messages.create(**ask)
    with client.messages.stream(**ask) as stream:
        streamed = stream.get_final_message()
    ours, theirs = whole.to_dict(), streamed.to_dict()
    for message in (ours, theirs):
        assert str(message.pop("id")).startswith("msg_")
        message.pop("stop_details", None)
        usage: Any = message.pop("usage")
        assert usage["output_tokens"] > 0 and usage["input_tokens"] + usage["cache_read_input_tokens"] > 0
        for block in message["content"]:
            block.pop("id", None)
            block.pop("parsed_output", None)
            block.pop("caller", None)
    assert ours == theirs
    return whole


def texts(message: anthropic.types.Message) -> list[str]:
    return [block.text for block in message.content if block.type == "text"]


def prompt(client: anthropic.Anthropic, **fields: Any) -> str:
    """What the template made of a request."""
    ask = {"model": MODEL, "max_tokens": 2000, **fields}
    block = client.messages.create(**ask).content[0]
    assert block.type == "text"
    return block.text


def error_of(response: httpx.Response, status: int) -> dict[str, str]:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"type", "error"} and body["type"] == "error" and set(body["error"]) == {"type", "message"}
    return body["error"]


def test_c46_a_text(claude: anthropic.Anthropic) -> None:
    message = both(claude, "Hé ☃!", system="Be brief.")
    assert texts(message) == ["Hé ☃!"]
    assert (message.stop_reason, message.stop_sequence, message.role) == ("end_turn", None, "assistant")
    assert message._request_id and message._request_id.startswith("req_")


def test_c46_why_an_answer_ends(claude: anthropic.Anthropic) -> None:
    assert both(claude, "word " * 9, max_tokens=3).stop_reason == "max_tokens"
    stopped = both(claude, "one two three", stop_sequences=["three", "two"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "two")
    assert texts(stopped) == ["one "]


def test_c46_the_events_and_their_order(thinker: httpx.Client) -> None:
    text = f"<think>Hm.</think>Look. {hermes('f', {'x': 1})}"
    ask = asked(text, stream=True, tools=TOOLS_HERE, thinking={"type": "enabled", "budget_tokens": 1024})
    response = thinker.post("/v1/messages", json=ask)
    events = [event for event in events_of(response) if event[0] != "ping"]
    names = [name for i, (name, _) in enumerate(events) if i == 0 or name != events[i - 1][0]]
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert names == ["message_start", *block * 3, "message_delta", "message_stop"]
    assert all(data["type"] == name for name, data in events)
    started = [data["content_block"] for name, data in events if name == "content_block_start"]
    assert [(block["type"], block.get("text"), block.get("input")) for block in started] == [
        ("thinking", None, None),
        ("text", "", None),
        ("tool_use", None, {}),
    ]
    kinds = {data["delta"]["type"] for name, data in events if name == "content_block_delta"}
    assert kinds == {"thinking_delta", "text_delta", "input_json_delta"}
    assert response.headers["x-llmrt-ignored"] == "thinking.budget_tokens"


def events_of(response: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    assert response.status_code == 200, response.text
    *events, rest = response.text.split("\n\n")
    assert rest == ""
    pairs = [event.split("\n") for event in events]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


def test_c46_calls_of_tools(claude: anthropic.Anthropic) -> None:
    message = both(claude, f"Look. {hermes('f', {'x': 1})}{hermes('g', {'é': '☃'})}", tools=TOOLS_HERE)
    assert message.stop_reason == "tool_use"
    _, *calls = message.content
    assert texts(message) == ["Look."]
    assert [(call.name, call.input) for call in calls if call.type == "tool_use"] == [
        ("f", {"x": 1}),
        ("g", {"é": "☃"}),
    ]


def test_c46_a_call_that_is_cut_off_is_shown_as_written(claude: anthropic.Anthropic) -> None:
    ask = asked(hermes("f", {"x": "long " * 9}), tools=TOOLS_HERE, max_tokens=60)
    message = claude.messages.create(**ask)
    (call,) = message.content
    assert message.stop_reason == "max_tokens" and call.type == "tool_use"
    assert str(call.input["INVALID_JSON"]).startswith('{"x": "long long')


@pytest.mark.parametrize(
    ("choice", "allowed", "many"),
    [
        ({"type": "any"}, ["f", "g"], True),
        ({"type": "any", "disable_parallel_tool_use": True}, ["f", "g"], False),
        ({"type": "tool", "name": "g"}, ["g"], False),
    ],
)
def test_c30_forced_calls(
    claude: anthropic.Anthropic, thinker: httpx.Client, choice: dict[str, Any], allowed: list[str], many: bool
) -> None:
    message = claude.messages.create(**asked("@grammar", tools=TOOLS_HERE, tool_choice=choice))
    openai: Any = {"any": "required", "tool": {"type": "function", "function": {"name": "g"}}}[choice["type"]]
    same = {"tools": TOOLS, "tool_choice": openai, "parallel_tool_calls": many}
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    (block,) = message.content
    assert block.type == "text" and block.text == grammar_of(thinker, **same, **off)
    assert [name for name in "fg" if f'\\"{name}\\"' in block.text] == allowed


def test_c30_auto_and_none(claude: anthropic.Anthropic) -> None:
    text = hermes("f", {"x": 1})
    calls = both(claude, text * 2, tools=TOOLS_HERE, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert len(calls.content) == 1
    none = both(claude, text, tools=TOOLS_HERE, tool_choice={"type": "none"})
    assert texts(none) == [text]
    strict = [{**TOOLS_HERE[0], "strict": True}]
    grammar = claude.messages.create(**asked("@grammar", tools=strict)).content[0]
    assert grammar.type == "text" and "integer" in grammar.text


def test_c46_what_the_model_reads(claude: anthropic.Anthropic) -> None:
    messages: Any = [
        {"role": "user", "content": [{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": "two"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": ""},
                {"type": "text", "text": "I call."},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sun"}]},
                {"type": "tool_result", "tool_use_id": "t2", "content": "no", "is_error": True},
                {"type": "tool_result", "tool_use_id": "t3"},
                {"type": "text", "text": "@prompt"},
            ],
        },
    ]
    system: Any = [{"type": "text", "text": "A."}, {"type": "text", "text": "B."}]
    call = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
    assert prompt(claude, system=system, messages=messages) == (
        "<im_start|>system\nA.\nB.<im_end|>\n<im_start|>user\none\ntwo<im_end|>\n"
        f"<im_start|>assistant\nI call.<think>Hm.</think>{call}<im_end|>\n"
        "<im_start|>tool\nsun<im_end|>\n<im_start|>tool\nError: no<im_end|>\n<im_start|>tool\n<im_end|>\n"
        "<im_start|>user\n@prompt<im_end|>\n<im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_c46_the_last_message_of_the_assistant_is_continued(claude: anthropic.Anthropic) -> None:
    user = {"role": "user", "content": "@prompt"}
    assert prompt(claude, messages=[user, {"role": "assistant", "content": "So"}]).endswith("assistant\nSo")


@pytest.mark.parametrize(
    ("thinking", "off", "ignored"),
    [
        (None, True, None),
        ({"type": "disabled"}, True, None),
        ({"type": "adaptive"}, False, None),
        ({"type": "enabled", "budget_tokens": 2000}, False, "thinking.budget_tokens"),
        ({"type": "between_tools"}, False, "thinking"),
    ],
)
def test_c46_thinking_is_switched(thinker: httpx.Client, thinking: Any, off: bool, ignored: str | None) -> None:
    response = thinker.post("/v1/messages", json=asked("@prompt", thinking=thinking))
    assert response.json()["content"][0]["text"].endswith("</think>\n\n") == off
    assert response.headers.get("x-llmrt-ignored") == ignored


def test_c46_thinking_of_a_model_that_cannot(http: httpx.Client) -> None:
    ask = asked("hi", thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=100)
    assert http.post("/v1/messages", json=ask).headers["x-llmrt-ignored"] == "thinking"
    assert "x-llmrt-ignored" not in http.post("/v1/messages", json={**ask, "thinking": {"type": "disabled"}}).headers


def test_c32_a_schema_is_followed(claude: anthropic.Anthropic) -> None:
    config: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    grammar = claude.messages.create(**asked("@grammar", output_config=config)).content[0]
    assert grammar.type == "text" and '"additionalProperties"' in grammar.text


def test_c33_c46_sampling_fields_reach_the_engine(claude: anthropic.Anthropic) -> None:
    fields = {"temperature": 0.3, "top_p": 0.7, "top_k": 9, "max_tokens": 400}
    block = claude.messages.create(
        model=MODEL, max_tokens=400, messages=[{"role": "user", "content": "@params"}], extra_body=fields
    ).content[0]
    assert block.type == "text"
    params = json.loads(block.text)
    assert {name: params[name] for name in fields} == fields


def test_c14_usage_counts_what_the_cache_had_apart(claude: anthropic.Anthropic) -> None:
    cold, warm = (claude.messages.create(**asked("count these tokens")).usage for _ in range(2))
    count = claude.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "count these tokens"}])
    assert (cold.input_tokens, cold.cache_read_input_tokens) == (count.input_tokens, 0)
    assert (warm.input_tokens, warm.cache_read_input_tokens) == (1, count.input_tokens - 1)


def test_c46_tokens_of_tools_count(claude: anthropic.Anthropic) -> None:
    ask: Any = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    assert (
        claude.messages.count_tokens(**ask, tools=TOOLS_HERE).input_tokens
        > claude.messages.count_tokens(**ask, system="x").input_tokens
        > claude.messages.count_tokens(**ask).input_tokens
    )


def test_c35_c46_pings_while_nothing_comes(thinker: httpx.Client, claude: anthropic.Anthropic) -> None:
    ask = asked("@pause 0.2 hi")
    names = [name for name, _ in events_of(thinker.post("/v1/messages", json={**ask, "stream": True}))]
    assert names[:2] == ["message_start", "ping"]
    with claude.messages.stream(**ask) as stream:
        assert stream.get_final_text() == "hi"


def test_c34_a_client_that_leaves_ends_its_request(claude: anthropic.Anthropic, thinker: httpx.Client) -> None:
    with claude.messages.stream(**asked("@forever", max_tokens=4000)) as stream:
        next(iter(stream.text_stream))
        assert [name for name in running(thinker) if name.startswith("msg_")]
    eventually(lambda: [name for name in aborted(thinker) if name.startswith("msg_")])
    assert not [name for name in running(thinker) if name.startswith("msg_")]


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
    too_large = httpx.post(f"{thinking_server.url}/v1/messages", content=b" " * 50_000_000, timeout=20)
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


def test_c18_a_clamp_is_named(thinker: httpx.Client) -> None:
    response = thinker.post("/v1/messages", json=asked("hi", max_tokens=100_000))
    assert response.headers["x-llmrt-clamped"].startswith("max_tokens=40")


def test_c36_a_chat_and_a_message_are_the_same_prompt(thinker: httpx.Client) -> None:
    body = {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "@prompt"}]}
    chat = thinker.post("/v1/chat/completions", json={**body, "chat_template_kwargs": {"enable_thinking": False}})
    message = thinker.post("/v1/messages", json=asked("@prompt", system="S"))
    assert message.json()["content"][0]["text"] == content(chat)
