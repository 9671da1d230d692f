"""Tool calls: what a model writes, as the client gets it. The scripted engine answers with the user's message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import openai
import pytest
from llguidance import LLMatcher
from serving import SPECIALS, chat, content, error_of, grammar_of, records, serving, streamed_after, write_model
from tool_templates import DEEPSEEK, LLAMA, MISTRAL, MISTRAL_NAMED, QWEN, TOOLS, hermes

from llmrt.config import EngineConfig, ServerSettings
from llmrt.errors import TemplateError
from llmrt.text.chat_format import chat_format
from llmrt.text.chat_template import ChatTemplate
from llmrt.text.grammar_vocabulary import grammar_vocabulary
from llmrt.text.load_tokenizer import load_tokenizer

MARKS = ("<|python_tag|>", "[TOOL_CALLS]", "[ARGS]")
WRITTEN = {  # two calls as each family writes them
    "hermes": '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>\n<tool_call>\n'
    '{"name": "g", "arguments": {"é": "☃"}}\n</tool_call>',
    "qwen": '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>\n<tool_call>\n'
    '{"name": "g", "arguments": {"é": "☃"}}\n</tool_call>',
    "llama": '{"name": "f", "parameters": {"x": 1}}; {"name": "g", "parameters": {"é": "☃"}}',
    "mistral": '@special [TOOL_CALLS][{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": {"é": "☃"}}]',
    "named": '@special [TOOL_CALLS]f[ARGS]{"x": 1}[TOOL_CALLS]g[ARGS]{"é": "☃"}',
}


class Family(NamedTuple):
    name: str
    http: httpx.Client
    path: Path


TEMPLATES = {"qwen": QWEN, "llama": LLAMA, "mistral": MISTRAL, "named": MISTRAL_NAMED}


@pytest.fixture(scope="module", params=WRITTEN)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    name = request.param
    template = {"template": TEMPLATES[name]} if name in TEMPLATES else {}
    path = write_model(tmp_path_factory.mktemp(name) / "model", specials=(*SPECIALS, *MARKS), **template)
    config = EngineConfig(context_length=4096)
    with serving(path, ServerSettings(), config) as served, served.http() as http:
        yield Family(name, http, path)


@pytest.fixture(scope="module")
def tool_http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A template that knows nothing of tools."""
    path = write_model(tmp_path_factory.mktemp("tools") / "model")
    config = EngineConfig(context_length=4096)
    settings = ServerSettings(ping_seconds=0.1)
    with serving(path, settings, config) as served, served.http() as http:
        yield http


def called(response: httpx.Response) -> list[tuple[str, Any]]:
    assert response.status_code == 200, response.text
    calls = response.json()["choices"][0]["message"].get("tool_calls", [])
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]


def test_c6_c7_c25_c31_calls_of_every_form(family: Family) -> None:
    name, http, _ = family
    expected = [("f", {"x": 1}), ("g", {"é": "☃"})]
    whole = chat(http, WRITTEN[name], tools=TOOLS)
    assert called(whole) == expected
    choice = whole.json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")
    ids = [call["id"] for call in choice["message"]["tool_calls"]]
    assert len({*ids}) == 2 and all(len(i) == 9 for i in ids) == (name in ("mistral", "named"))
    for seed in range(5):  # which cuts the engine's steps differently
        check_stream(records(chat(http, WRITTEN[name], tools=TOOLS, stream=True, seed=seed)), expected)


def check_stream(events: list[dict[str, Any]], expected: list[tuple[str, Any]]) -> None:
    deltas = [event["choices"][0]["delta"] for event in events]
    assert deltas[0] == {"role": "assistant", "content": ""} and deltas[-1] == {}
    assert [event["choices"][0]["finish_reason"] for event in events] == [None] * (len(events) - 1) + ["tool_calls"]
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas[1:-1]:
        assert set(delta) == {"tool_calls"}
        (call,) = delta["tool_calls"]
        if call["index"] not in calls:
            assert set(call) == {"index", "id", "type", "function"} and call["type"] == "function"
            assert call["function"]["arguments"] == "" and call["function"]["name"]
            calls[call["index"]] = {"id": call["id"], "name": call["function"]["name"], "arguments": ""}
        else:
            assert set(call) == {"index", "function"} and set(call["function"]) == {"arguments"}
            assert call["function"]["arguments"]
            calls[call["index"]]["arguments"] += call["function"]["arguments"]
    assert [*calls] == [*range(len(expected))]
    assert [(call["name"], json.loads(call["arguments"])) for call in calls.values()] == expected
    assert len({call["id"] for call in calls.values()}) == len(expected)


def test_c30_forced_answers_are_of_the_familys_own_form(family: Family) -> None:
    """What each family writes is allowed by the grammar that the engine gets where calls are forced."""
    name, http, path = family
    written = WRITTEN[name].removeprefix("@special ")
    if name == "llama":
        written = written.partition(";")[0]  # a forced answer has one
    for choice in ("required", "auto"):
        tools = [{**tool, "function": {**tool["function"], "strict": choice == "auto"}} for tool in TOOLS[:1]]
        grammar = grammar_of(http, tools=[*tools, TOOLS[1]], tool_choice=choice)
        assert allows(path, grammar, written), grammar
        assert not allows(path, grammar, written.replace("1", '"one"')), grammar
        assert allows(path, grammar, "Some text.") == (choice == "auto")


def allows(path: Path, grammar: str, text: str) -> bool:
    tokenizer = load_tokenizer(path)
    matcher = LLMatcher(grammar_vocabulary(tokenizer), grammar, log_level=0)
    tokens = tokenizer.encode(text, add_special_tokens=False)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def test_c31_one_call_where_parallel_ones_are_off(family: Family) -> None:
    name, http, _ = family
    fields = {"tools": TOOLS, "parallel_tool_calls": False}
    whole = chat(http, WRITTEN[name], **fields)
    assert called(whole) == [("f", {"x": 1})]
    assert whole.json()["choices"][0]["finish_reason"] == "tool_calls"
    check_stream(records(chat(http, WRITTEN[name], stream=True, **fields)), [("f", {"x": 1})])


def test_c26_calls_and_results_of_the_past_are_shown(family: Family) -> None:
    name, http, _ = family
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": "f", "arguments": json.dumps({"x": i})}}
        for i in (1, 2)
    ]
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "@prompt"},
    ]
    text = content(http.post("/v1/chat/completions", json={"messages": messages}))
    order = [text.index(part) for part in ('{"x": 1}', '{"x": 2}', "one", "two")]
    if name == "llama":  # a call a message, each with its result behind it
        assert order[0] < order[2] < order[1] < order[3]
    else:
        assert order == sorted(order)
    assert "call_" not in text


def test_c30_a_request_with_tool_choice_none_has_no_tools(family: Family) -> None:
    name, http, _ = family
    assert "Does f." in content(chat(http, "@prompt", tools=TOOLS))
    assert "Does f." not in content(chat(http, "@prompt", tools=TOOLS, tool_choice="none"))
    whole = chat(http, WRITTEN[name], tools=TOOLS, tool_choice="none").json()["choices"][0]
    assert "tool_calls" not in whole["message"] and whole["finish_reason"] == "stop"


def test_c30_a_model_without_tools_is_told_of_them(tool_http: httpx.Client) -> None:
    text = content(chat(tool_http, "@prompt", tools=TOOLS))
    assert text.startswith("<im_start|>system\n# Tools") and '"name": "g"' in text and "strict" not in text
    body = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "@prompt"}]}
    both = content(tool_http.post("/v1/chat/completions", json={**body, "tools": TOOLS}))
    assert both.startswith("<im_start|>system\nBe brief.\n\n# Tools") and both.count("<im_start|>system") == 1
    rendered = tool_http.post("/apply-template", json={**body, "tools": TOOLS}).json()["prompt"]
    assert both == rendered.replace("<|", "<")


def test_c7_the_real_client_puts_the_stream_together(tool_http: httpx.Client) -> None:
    url = f"{tool_http.base_url}/v1"
    text = f"Look. {hermes('f', {'x': 1})}{hermes('g', {})}"
    with openai.OpenAI(base_url=url, api_key="x", max_retries=0, _strict_response_validation=True) as client:
        ask: Any = {"model": "tiny-alias", "messages": [{"role": "user", "content": text}], "tools": TOOLS}
        whole = client.chat.completions.create(**ask).choices[0]
        with client.chat.completions.stream(**ask) as stream:
            final = stream.get_final_completion().choices[0]
    for choice in (whole, final):
        assert choice.finish_reason == "tool_calls" and choice.message.content == "Look."
        calls: Any = choice.message.tool_calls
        assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
            ("f", {"x": 1}),
            ("g", {}),
        ]


def test_c25_tool_calls_if_and_only_if_there_are_calls(tool_http: httpx.Client) -> None:
    def reason(text: str, **fields: Any) -> str:
        choice = chat(tool_http, text, tools=TOOLS, **fields).json()["choices"][0]
        assert (choice["finish_reason"] == "tool_calls") <= ("tool_calls" in choice["message"])
        return choice["finish_reason"]

    assert reason("Just text.") == "stop"
    assert reason(hermes("f", {"x": 1})) == "tool_calls"
    for choice in ("required", {"type": "function", "function": {"name": "f"}}):
        assert reason(hermes("f", {"x": 1}), tool_choice=choice) == "tool_calls"
    assert reason("<tool_call> nothing") == "stop"
    assert reason(hermes("f", {"x": "long " * 9}), max_tokens=60) == "length"
    assert reason("text <tool_call>", stop="text") == "stop"


def test_c21_stop_strings_end_the_content_and_not_a_call(tool_http: httpx.Client) -> None:
    text = f"One, two. {hermes('f', {'x': 'two'})}"
    assert called(chat(tool_http, text, tools=TOOLS, stop="x")) == [("f", {"x": "two"})]
    cut = chat(tool_http, text, tools=TOOLS, stop="two").json()["choices"][0]
    assert (cut["message"]["content"], cut["finish_reason"], cut["stop_reason"]) == ("One, ", "stop", "two")
    assert "tool_calls" not in cut["message"]


def test_c23_tokens_of_calls_are_not_those_of_the_content(tool_http: httpx.Client) -> None:
    text = f"Hé ☃. \n{hermes('f', {'x': 1})}\n more"
    for stream in (False, True):
        response = chat(tool_http, text, tools=TOOLS, logprobs=True, stream=stream)
        choices = [event["choices"][0] for event in records(response)] if stream else response.json()["choices"]
        tokens = [t for choice in choices for t in (choice["logprobs"] or {"content": []})["content"]]
        assert b"".join(bytes(token["bytes"]) for token in tokens).decode() == "Hé ☃.more"


def test_c24_each_of_several_choices_has_its_own_calls(tool_http: httpx.Client) -> None:
    fields = {"tools": TOOLS, "n": 3}
    choices = chat(tool_http, WRITTEN["hermes"], **fields).json()["choices"]
    ids = [call["id"] for choice in choices for call in choice["message"]["tool_calls"]]
    assert len({*ids}) == 6
    events = records(chat(tool_http, WRITTEN["hermes"], stream=True, **fields))
    for index in range(3):
        check_stream([e for e in events if e["choices"][0]["index"] == index], [("f", {"x": 1}), ("g", {"é": "☃"})])


def test_c35_pings_go_on_while_a_call_is_withheld(tool_http: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": "@held hi"}], "tools": TOOLS}
    assert streamed_after(tool_http, "/v1/chat/completions", body, ": ping\n\n").startswith(": ping\n\n")


def test_c31_what_is_constrained(tool_http: httpx.Client) -> None:
    def asked(**fields: Any) -> str:
        return grammar_of(tool_http, tools=TOOLS, **fields)

    only_g = {"type": "function", "function": {"name": "g"}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [only_g]}}
    assert asked() == asked(tool_choice="auto") == asked(tool_choice="none") == ""
    for choice in ({"type": "function", "function": {"name": "g"}}, allowed):
        grammar = asked(tool_choice=choice)
        assert '\\"g\\"' in grammar and '\\"f\\"' not in grammar
    must = {**allowed, "allowed_tools": {**allowed["allowed_tools"], "mode": "required"}}
    assert "start: body\nbody: calls" in asked(tool_choice=must)
    assert "body: calls" not in asked(tool_choice=allowed)
    both = asked(response_format={"type": "json_object"})
    assert "calls | @answer" in both


def test_c31_a_schema_that_cannot_be_enforced(tool_http: httpx.Client) -> None:
    function = {"name": "f", "parameters": {"type": "object", "not": {"required": ["x"]}}}
    strict = [{"type": "function", "function": {**function, "strict": True}}]
    assert error_of(chat(tool_http, "hi", tools=strict), 400)["param"] == "tools[0].function.parameters"
    loose = chat(tool_http, hermes("f", {}), tools=[{"type": "function", "function": function}], tool_choice="required")
    assert called(loose) == [("f", {})]
    assert loose.headers["x-llmrt-ignored"] == "tools.0.function.parameters"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": {}}, "tools"),
        ({"tools": [5]}, "tools[0]"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": [*TOOLS, TOOLS[0]]}, "tools"),
        ({"tools": TOOLS, "tool_choice": "always"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "h"}}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}}, "tool_choice"),
        (
            {
                "tools": TOOLS,
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "h"}}]},
                },
            },
            "tool_choice",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"tools": TOOLS, "tool_choice": "required", "ignore_eos": True}, "ignore_eos"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": {"name": "f"}}, "function_call"),
    ],
)
def test_c30_faults_name_their_field(tool_http: httpx.Client, fields: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        assert error_of(chat(tool_http, "hi", stream=stream, **fields), 400)["param"] == param


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "messages[1].tool_calls[0].function.name"),
        ({"role": "assistant", "tool_calls": {"id": "1"}}, "messages[1].tool_calls"),
        ({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}, "messages[1]"),
        ({"role": "function", "name": "f", "content": "1"}, "messages[1]"),
        ({"role": "tool", "tool_call_id": "1"}, "messages[1].content"),
    ],
)
def test_c26_messages_that_are_no_history(tool_http: httpx.Client, message: dict[str, Any], param: str) -> None:
    user = {"role": "user", "content": "hi"}
    error = error_of(tool_http.post("/v1/chat/completions", json={"messages": [user, message, user]}), 400)
    assert error["param"] == param


def test_c26_templates_that_join_arguments_to_text_get_them_as_text() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"é": [1, "☃"]}'}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    chat = chat_format(ChatTemplate(DEEPSEEK, bos_token="", eos_token=""))
    assert '<tool_call>{"é": [1, "☃"]}</tool_call>' in chat.render(chat.history(messages, TOOLS), TOOLS)
    refusing = chat_format(ChatTemplate(DEEPSEEK + "{{ raise_exception('no') }}", bos_token="", eos_token=""))
    with pytest.raises(TemplateError, match="concatenate"):  # the template's first words, not those of the second try
        refusing.render(refusing.history(messages, TOOLS), TOOLS)
