"""``/v1/messages`` with Anthropic's client, against the scripted engine, which answers with the user's message."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import pytest
from serving import Served, aborted, content, eventually, grammar_of, running, streamed_after
from tool_templates import SCHEMA, TOOLS, hermes

MODEL = "tiny-alias"
TOOLS_HERE: Any = [
    {
        "name": tool["function"]["name"],
        "description": "Does it.",
        "input_schema": tool["function"].get("parameters", {}),
    }
    for tool in TOOLS
]


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
    events = events_of(response.text)
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


def events_of(stream: str) -> list[tuple[str, dict[str, Any]]]:
    *events, rest = stream.split("\n\n")
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


def test_c46_the_tool_runner_sends_conversations_whole(claude: anthropic.Anthropic) -> None:
    """It asks for one that the server keeps, and is told that there are none."""

    @anthropic.beta_tool
    def f(x: int) -> str:
        """Twice a number."""
        return f"that is {2 * x}"

    ask: Any = {**asked(hermes("f", {"x": 3})), "tools": [f]}
    first, last = claude.beta.messages.tool_runner(**ask, max_iterations=2)
    seen = [turn.usage.input_tokens + (turn.usage.cache_read_input_tokens or 0) for turn in (first, last)]
    assert seen[1] > seen[0] + first.usage.output_tokens
    with pytest.raises(anthropic.BadRequestError, match="keeps no conversations"):
        claude.beta.messages.create(**asked("hi"), thread={"type": "create"})


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


def test_c35_c46_pings_while_nothing_comes(pinging_server: Served, pinged: httpx.Client) -> None:
    names = [name for name, _ in events_of(streamed_after(pinged, "/v1/messages", asked("@held hi"), "event: ping"))]
    assert names[:2] == ["message_start", "ping"]
    with (
        anthropic.Anthropic(base_url=pinging_server.url, api_key="none") as client,
        client.messages.stream(**asked("@pause 0.2 hi")) as stream,
    ):
        assert stream.get_final_text() == "hi"


def test_c34_a_client_that_leaves_ends_its_request(claude: anthropic.Anthropic, thinker: httpx.Client) -> None:
    with claude.messages.stream(**asked("@forever", max_tokens=4000)) as stream:
        next(iter(stream.text_stream))
        assert [name for name in running(thinker) if name.startswith("msg_")]
    eventually(lambda: [name for name in aborted(thinker) if name.startswith("msg_")])
    assert not [name for name in running(thinker) if name.startswith("msg_")]


def test_c36_a_chat_and_a_message_are_the_same_prompt(thinker: httpx.Client) -> None:
    body = {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "@prompt"}]}
    chat = thinker.post("/v1/chat/completions", json={**body, "chat_template_kwargs": {"enable_thinking": False}})
    message = thinker.post("/v1/messages", json=asked("@prompt", system="S"))
    assert message.json()["content"][0]["text"] == content(chat)
