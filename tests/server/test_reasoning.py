"""What a model thinks before it answers, apart from the answer. The scripted engine says what the user said."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from serving import chat, content, records

from tests.tiny_vocabulary import accepts

TOOLS: Any = [{"type": "function", "function": {"name": "f"}}]
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'


def message(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]


def streamed(response: httpx.Response, name: str) -> str:
    return "".join(event["choices"][0]["delta"].get(name, "") for event in records(response))


@pytest.mark.parametrize(
    ("text", "thoughts", "answer", "fields"),
    [
        ("<think>\nHm ☃.\n</think>\n\nYes. ", "Hm ☃.", "Yes. ", {}),
        ("No thoughts.", None, "No thoughts.", {}),
        ("Hm.\n</think>\n\nYes.", "Hm.", "Yes.", {"chat_template_kwargs": {"thinks_at_once": True}}),
        ("Yes. <think>", None, "Yes. <think>", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("<think>Hm STOP.</think>Yes. STOP No.", "Hm STOP.", "Yes. ", {"stop": "STOP"}),
        ("<think>It is long", "It is lo", "", {"max_tokens": 14}),
    ],
)
def test_c28_thoughts_are_apart_under_both_names(
    thinker: httpx.Client, text: str, thoughts: str | None, answer: str, fields: dict[str, Any]
) -> None:
    whole = message(chat(thinker, text, **fields))
    assert whole.get("reasoning_content") == whole.get("reasoning") == thoughts and whole["content"] == answer
    for seed in range(4):
        stream = chat(thinker, text, stream=True, seed=seed, **fields)
        assert streamed(stream, "reasoning_content") == streamed(stream, "reasoning") == (thoughts or "")
        assert streamed(stream, "content") == answer
        deltas = [event["choices"][0]["delta"] for event in records(stream)]
        kinds = [{*delta} for delta in deltas[1:-1]]
        assert all(kind in ({"content"}, {"reasoning_content", "reasoning"}) for kind in kinds)
        assert all(all(delta.values()) for delta in deltas[1:-1])


def test_c28_thoughts_and_calls(thinker: httpx.Client) -> None:
    whole = message(chat(thinker, f"<think>Is it {CALL}?</think>\n{CALL}", tools=TOOLS))
    assert whole["reasoning"] == f"Is it {CALL}?" and whole["content"] is None and len(whole["tool_calls"]) == 1


def test_c28_thoughts_of_the_past_under_either_name(thinker: httpx.Client) -> None:
    for name in ("reasoning", "reasoning_content"):
        said = {"role": "assistant", "content": "Yes.", name: "Hm."}
        messages = [{"role": "user", "content": "a"}, said, {"role": "user", "content": "@prompt"}]
        prompt = content(thinker.post("/v1/chat/completions", json={"messages": messages}))
        assert "Yes.<think>Hm.</think>" in prompt


def test_c28_logprobs_are_those_of_the_content(thinker: httpx.Client) -> None:
    response = chat(thinker, "<think>Hm.</think>Yés.", logprobs=True).json()["choices"][0]
    assert b"".join(bytes(t["bytes"]) for t in response["logprobs"]["content"]).decode() == "Yés."


def test_c28_a_continued_thought_goes_on(thinker: httpx.Client) -> None:
    messages = [{"role": "user", "content": "on</think>Yes."}, {"role": "assistant", "content": "<think>Hm, and so "}]
    whole = message(thinker.post("/v1/chat/completions", json={"messages": messages}))
    assert (whole["reasoning"], whole["content"]) == ("on", "Yes.")
    messages[1]["content"] = "<think>Hm.</think>The answer "
    messages[0]["content"] = "<think>"
    assert message(thinker.post("/v1/chat/completions", json={"messages": messages}))["content"] == "<think>"


def test_c28_a_switch_reaches_the_template(thinker: httpx.Client, http: httpx.Client) -> None:
    def ends(**fields: Any) -> bool:
        response = chat(thinker, "@prompt", **fields)
        assert "x-llmrt-ignored" not in response.headers
        return content(response).endswith("</think>\n\n")

    assert not ends() and not ends(reasoning_effort="high")
    assert ends(reasoning_effort="none") and ends(chat_template_kwargs={"enable_thinking": False})
    ignored = chat(http, "hi", reasoning_effort="low", chat_template_kwargs={"enable_thinking": True})
    assert ignored.headers["x-llmrt-ignored"] == "chat_template_kwargs.enable_thinking, reasoning_effort"


def test_c32_thoughts_may_come_before_an_answer_with_a_form(thinker: httpx.Client) -> None:
    def grammar(**fields: Any) -> str:
        said = message(chat(thinker, "@grammar", response_format={"type": "json_object"}, **fields))
        return f"{said['reasoning']}</think>{said['content']}" if "reasoning" in said else said["content"]

    free, begun, off = (
        grammar(chat_template_kwargs=kwargs) for kwargs in ({}, {"thinks_at_once": True}, {"enable_thinking": False})
    )
    assert accepts(free, "<think>Hm.</think>\n\n{}") and accepts(free, "{}") and not accepts(free, "Hm. {}")
    assert accepts(begun, "Hm.</think>{}") and not accepts(begun, "{}")
    assert accepts(off, "{}") and not accepts(off, "<think>Hm.</think>{}")
    required = content(chat(thinker, "@grammar", tools=TOOLS, tool_choice="required"))
    assert accepts(required, f"<think>Hm.</think>{CALL}") and accepts(required, CALL) and not accepts(required, "Hm.")


def test_c28_the_real_client_reads_it(thinker: httpx.Client) -> None:
    with openai.OpenAI(base_url=f"{thinker.base_url}/v1", api_key="x", _strict_response_validation=True) as client:
        completion = client.chat.completions.create(
            model="tiny-alias", messages=[{"role": "user", "content": "<think>Hm.</think>Yes."}]
        )
    extra = json.loads(completion.choices[0].message.model_dump_json())
    assert (extra["content"], extra["reasoning_content"], extra["reasoning"]) == ("Yes.", "Hm.", "Hm.")


def test_c28_usage_counts_the_tokens_of_thoughts(thinker: httpx.Client) -> None:
    usage = chat(thinker, "<think>Hm.</think>Yes.").json()["usage"]
    tokens = thinker.post("/tokenize", json={"prompt": "<think>Hm."}).json()["count"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": tokens} and tokens < usage["completion_tokens"]
