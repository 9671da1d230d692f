"""``/v1/responses`` with OpenAI's client, against the scripted engine, which answers with the user's message."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response
from pydantic import BaseModel
from serving import aborted, content, error_of, eventually, grammar_of, running, streamed_after
from tool_templates import SCHEMA, TOOLS, hermes

MODEL = "tiny-alias"
FUNCTIONS: Any = [{"type": "function", **tool["function"]} for tool in TOOLS]
CALLS = f"Look. {hermes('f', {'x': 1})}{hermes('g', {'é': '☃'})}"


def both(client: openai.OpenAI, text: Any, **fields: Any) -> Response:
    """The whole response, which must be the streamed one's."""
    ask: Any = {"model": MODEL, "input": text, **fields}
    whole = client.responses.create(**ask)
    events = [*client.responses.create(**ask, stream=True)]
    assert [event.sequence_number for event in events] == [*range(len(events))]
    assert events[-1].type in ("response.completed", "response.incomplete")
    streamed = events[-1].response
    assert plain(streamed.to_dict()) == plain(whole.to_dict())
    check_items(events, streamed)
    return whole


def plain(response: Any) -> Any:
    """Without what differs between two answers."""
    if isinstance(response, list):
        return [plain(part) for part in response]
    if not isinstance(response, dict):
        return response
    own = {"id", "call_id", "created_at", "completed_at", "usage"}
    return {name: plain(value) for name, value in response.items() if name not in own}


def check_items(events: list[Any], response: Response) -> None:
    """The events of each item, put together, are the item."""
    for index, item in enumerate(response.output):
        own = [event for event in events if getattr(event, "output_index", None) == index]
        assert own[0].type == "response.output_item.added" and own[-1].type == "response.output_item.done"
        assert own[0].item.id == own[-1].item.id == item.id
        assert own[0].item.status == "in_progress" and own[-1].item == item
        assert all(event.item_id == item.id for event in own[1:-1])
        pieces = "".join(event.delta for event in own if event.type.endswith(".delta"))
        if item.type == "function_call":
            assert own[-2].arguments == pieces == item.arguments and own[-2].name == item.name
        else:
            assert own[1].part.text == "" and item.type in ("message", "reasoning") and item.content
            assert own[-3].text == own[-2].part.text == pieces == item.content[0].text


def asked(message: Any, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": message, **fields}


def test_a_text_and_what_the_response_repeats(gpt: openai.OpenAI) -> None:
    response = both(gpt, "Hé ☃!", metadata={"a": "b"}, instructions="Be brief.", max_output_tokens=50, temperature=0.5)
    assert response.output_text == "Hé ☃!" and response.status == "completed" and response.id.startswith("resp_")
    assert (response.metadata, response.instructions, response.max_output_tokens) == ({"a": "b"}, "Be brief.", 50)
    assert (response.temperature, response.top_p) == (0.5, 0.9)  # the model's own where nothing was sent
    assert response.error is None and response.incomplete_details is None
    assert response.model_extra == {"store": False, "frequency_penalty": 0.0, "presence_penalty": 0.0}


def test_c15_an_answer_that_is_cut_off_is_incomplete(gpt: openai.OpenAI) -> None:
    response = both(gpt, "word " * 9, max_output_tokens=3)
    assert response.status == "incomplete" and response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output[0].status == "incomplete" and response.usage and response.usage.output_tokens == 3


def test_c7_calls_of_tools(gpt: openai.OpenAI) -> None:
    response = both(gpt, CALLS, tools=FUNCTIONS, tool_choice="auto")
    message, *calls = response.output
    assert message.type == "message" and response.output_text == "Look."
    assert [(call.name, json.loads(call.arguments)) for call in calls if call.type == "function_call"] == [
        ("f", {"x": 1}),
        ("g", {"é": "☃"}),
    ]
    assert len({call.call_id for call in calls if call.type == "function_call"}) == 2
    assert len(both(gpt, CALLS, tools=FUNCTIONS, parallel_tool_calls=False).output) == 2
    assert len(both(gpt, CALLS, tools=FUNCTIONS, tool_choice="none").output) == 1


def test_c7_the_real_client_puts_the_stream_together(gpt: openai.OpenAI) -> None:
    with gpt.responses.stream(**asked(CALLS, tools=FUNCTIONS)) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert {"response.created", "response.in_progress", "response.output_text.delta"} <= kinds
    assert final.output_text == "Look."
    calls = [json.loads(item.arguments) for item in final.output if item.type == "function_call"]
    assert calls == [{"x": 1}, {"é": "☃"}]


def test_c28_thoughts_are_an_item_of_their_own(gpt: openai.OpenAI, thinker: httpx.Client) -> None:
    response = both(gpt, "<think>Hm ☃.</think>Yes.")
    thoughts, message = response.output
    assert thoughts.type == "reasoning" and thoughts.content and thoughts.content[0].text == "Hm ☃."
    assert message.type == "message" and response.output_text == "Yes."
    tokens = thinker.post("/tokenize", json={"prompt": "<think>Hm ☃."}).json()["count"]
    assert response.usage and response.usage.output_tokens_details.reasoning_tokens == tokens


class Answer(BaseModel):
    x: int


def test_c12_c32_parse(gpt: openai.OpenAI) -> None:
    response = gpt.responses.parse(**asked('{"x": 5}'), text_format=Answer)
    assert response.output_parsed == Answer(x=5)
    with gpt.responses.stream(**asked('{"x": 6}'), text_format=Answer) as stream:
        assert stream.get_final_response().output_parsed == Answer(x=6)


@pytest.mark.parametrize(
    ("fields", "chat"),
    [
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
        ),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        ({"text": {"format": {"type": "text"}}}, {}),
        (
            {"tools": FUNCTIONS, "tool_choice": {"type": "function", "name": "g"}},
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}},
        ),
        ({"tools": FUNCTIONS, "tool_choice": "required"}, {"tools": TOOLS, "tool_choice": "required"}),
        (
            {
                "tools": FUNCTIONS,
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]},
            },
            {
                "tools": TOOLS,
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "g"}}]},
                },
            },
        ),
    ],
)
def test_c30_c32_constraints_are_those_of_the_chat(
    gpt: openai.OpenAI, thinker: httpx.Client, fields: dict[str, Any], chat: dict[str, Any]
) -> None:
    response = gpt.responses.create(**asked("@grammar", **fields))
    assert response.output_text == grammar_of(thinker, **chat)
    assert response.to_dict()["text"] == fields.get("text", {"format": {"type": "text"}})
    if "tool_choice" in fields:
        assert response.to_dict()["tool_choice"] == fields["tool_choice"]


def test_c26_what_the_model_reads(gpt: openai.OpenAI) -> None:
    items: Any = [
        {"role": "developer", "content": "B."},
        {"role": "user", "content": [{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}]},
        {"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {
            "type": "message",
            "id": "m",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I call.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x": 1}'},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": '{"x": 2}'},
        {"type": "function_call_output", "call_id": "c1", "output": "sun"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "rain"}]},
        {"type": "reasoning", "id": "r2", "summary": [{"type": "summary_text", "text": "So."}]},
        {"role": "assistant", "content": "Wet."},
        {"role": "user", "content": "@prompt"},
    ]
    calls = "".join(f'<tool_call>\n{{"name": "f", "arguments": {{"x": {i}}}}}\n</tool_call>' for i in (1, 2))
    assert gpt.responses.create(**asked(items, instructions="A.")).output_text == (
        "<im_start|>system\nA.\n\nB.<im_end|>\n<im_start|>user\none\ntwo<im_end|>\n"
        f"<im_start|>assistant\nI call.<think>Hm.</think>{calls}<im_end|>\n"
        "<im_start|>tool\nsun<im_end|>\n<im_start|>tool\nrain<im_end|>\n"
        "<im_start|>assistant\nWet.<think>So.</think><im_end|>\n"
        "<im_start|>user\n@prompt<im_end|>\n<im_start|>assistant\n"
    )


def test_c26_the_output_of_one_response_is_input_of_the_next(gpt: openai.OpenAI) -> None:
    first = gpt.responses.create(**asked(f"<think>Hm.</think>{CALLS}", tools=FUNCTIONS))
    results = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "done"}
        for item in first.output
        if item.type == "function_call"
    ]
    conversation: Any = [item.to_dict() for item in first.output] + results + [{"role": "user", "content": "@prompt"}]
    prompt = gpt.responses.create(**asked(conversation)).output_text
    assert "Look.<think>Hm.</think><tool_call>" in prompt and prompt.count("<im_start|>assistant") == 2


def test_c14_usage(gpt: openai.OpenAI) -> None:
    cold, warm = (gpt.responses.create(**asked("count these tokens")).usage for _ in range(2))
    assert cold and warm and cold.input_tokens_details.cached_tokens == 0
    assert warm.input_tokens_details.cached_tokens == warm.input_tokens - 1 == cold.input_tokens - 1
    assert cold.total_tokens == cold.input_tokens + cold.output_tokens


def test_c33_sampling_fields_reach_the_engine(gpt: openai.OpenAI) -> None:
    params = json.loads(gpt.responses.create(**asked("@params", temperature=0.3, top_p=0.7)).output_text)
    assert (params["temperature"], params["top_p"]) == (0.3, 0.7)


def test_c33_fields_without_effect(thinker: httpx.Client) -> None:
    harmless = {"store": True, "user": "me", "safety_identifier": "s", "prompt_cache_key": "k", "service_tier": "auto"}
    response = thinker.post(
        "/v1/responses", json=asked("hi", **harmless, stream_options={"include_obfuscation": False})
    )
    assert "x-llmrt-ignored" not in response.headers and response.json()["store"] is False
    named = {"include": ["reasoning.encrypted_content"], "truncation": "auto", "new_field": 1}
    response = thinker.post("/v1/responses", json=asked("hi", **named, reasoning={"summary": "auto"}))
    assert response.headers["x-llmrt-ignored"] == "new_field, reasoning.summary, include, truncation"
    others = [{"type": "web_search", "external_web_access": False}, {"type": "namespace", "name": "n", "tools": []}]
    response = thinker.post("/v1/responses", json=asked("hi", tools=[*others, FUNCTIONS[0]]))
    assert response.headers["x-llmrt-ignored"] == "tools.0, tools.1"
    assert [tool["name"] for tool in response.json()["tools"]] == [FUNCTIONS[0]["name"]]
    loose = {**FUNCTIONS[0], "parameters": {"not": {}}}
    response = thinker.post("/v1/responses", json=asked("hi", tools=[*others, loose], tool_choice="required"))
    assert response.headers["x-llmrt-ignored"] == "tools.0, tools.1, tools.2.parameters"


def test_c18_a_clamp_is_named(thinker: httpx.Client) -> None:
    response = thinker.post("/v1/responses", json=asked("hi", max_output_tokens=100_000))
    assert response.headers["x-llmrt-clamped"].startswith("max_output_tokens=40")


def test_c34_a_client_that_leaves_ends_its_request(gpt: openai.OpenAI, thinker: httpx.Client) -> None:
    def ours(names: list[str]) -> list[str]:
        return [name for name in names if name.startswith("resp_")]

    with gpt.responses.create(**asked("@forever"), stream=True) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                break
        assert ours(running(thinker))
    eventually(lambda: ours(aborted(thinker)))
    assert not ours(running(thinker))


def test_c35_comments_while_nothing_comes(pinged: httpx.Client) -> None:
    text = streamed_after(pinged, "/v1/responses", asked("@held hi"), ": ping\n\n")
    assert text.startswith("event: response.created\ndata: {") and "[DONE]" not in text


def test_c11_a_stream_that_fails_ends_with_an_error_event(gpt: openai.OpenAI) -> None:
    *_, error, failed = gpt.responses.create(**asked("@fail"), stream=True)
    assert error.type == "error" and "the engine failed midway" in error.message
    assert failed.type == "response.failed" and failed.sequence_number == error.sequence_number + 1
    assert failed.response.status == "failed" and failed.response.error is not None
    assert failed.response.error.code == "server_error" and failed.response.output[0].status == "incomplete"
    assert failed.response.output_text.startswith("spam")
    with pytest.raises(openai.InternalServerError, match="the engine failed midway"):
        gpt.responses.create(**asked("@fail"))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": ["message"]}]}, "input[0].type"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": []}]}]}, "input[0].content[0]"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]}, "input"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"top_logprobs": 1000, "include": ["message.output_text.logprobs"]}, "top_logprobs"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{**FUNCTIONS[0], "strict": True, "parameters": {"not": {}}}]}, "tools[0].parameters"),
        (
            {"tools": [{"type": "web_search"}, {**FUNCTIONS[0], "strict": True, "parameters": {"not": {}}}]},
            "tools[1].parameters",
        ),
        ({"tools": FUNCTIONS, "tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"tools": FUNCTIONS, "tool_choice": {"type": "function", "name": "h"}}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"metadata": {"a": 1}}, "metadata.a"),
    ],
)
def test_c39_faults_name_their_field(thinker: httpx.Client, fields: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        error = error_of(thinker.post("/v1/responses", json=asked("hi") | {"stream": stream} | fields), 400)
        assert error["param"] == param and "response_format" not in error["message"]


def test_c16_c19_the_codes_that_clients_look_for(gpt: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.responses.create(**asked("long " * 4096))
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")
    with pytest.raises(openai.NotFoundError) as missing:
        gpt.responses.create(**{**asked("hi"), "model": "gpt-5"})
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        gpt.responses.retrieve("resp_1")


def test_the_prompt_is_that_of_the_chat(gpt: openai.OpenAI, thinker: httpx.Client) -> None:
    body = {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "@prompt"}]}
    chat = thinker.post("/v1/chat/completions", json=body)
    assert gpt.responses.create(**asked("@prompt", instructions="S")).output_text == content(chat)


def test_logprobs_are_those_of_the_chat(gpt: openai.OpenAI) -> None:
    """Whole and in the deltas, the likeliest ones beside them."""
    fields: Any = {"model": MODEL, "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    whole = both(gpt, "one é two", **fields)
    message: Any = whole.output[0]
    chat: Any = gpt.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "one é two"}], logprobs=True, top_logprobs=2
    )
    expected = [token.to_dict() for token in chat.choices[0].logprobs.content]
    assert [token.to_dict() for token in message.content[0].logprobs] == expected and len(expected) > 3
    events: Any = [*gpt.responses.create(**fields, input="one é two", stream=True)]
    deltas = [token for event in events if event.type == "response.output_text.delta" for token in event.logprobs]
    assert [token.to_dict() for token in deltas] == expected
    assert whole.top_logprobs == 2
    assert both(gpt, "one é two").output[0].content[0].logprobs == []  # type: ignore[union-attr, index]
