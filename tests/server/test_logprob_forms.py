"""Log-probabilities as chat and as text completions have them."""

from __future__ import annotations

import math
from typing import Any

import httpx
import openai
import pytest
from serving import chat, error_of, records

TEXT = "hello the ☃ 🦙"


def _tokens_of_stream(response: httpx.Response) -> list[dict[str, Any]]:
    choices = [record["choices"][0] for record in records(response)]
    return [token for choice in choices for token in (choice["logprobs"] or {"content": []})["content"]]


def test_c23_bytes_joined_are_the_content(client: openai.OpenAI, http: httpx.Client) -> None:
    completion = client.chat.completions.create(
        model="tiny-alias", messages=[{"role": "user", "content": TEXT}], logprobs=True, top_logprobs=4
    )
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert b"".join(bytes(token.bytes or []) for token in logprobs.content).decode() == TEXT
    assert all(len(token.top_logprobs) == 4 for token in logprobs.content)
    numbers = [t.logprob for token in logprobs.content for t in [token, *token.top_logprobs]]
    assert all(math.isfinite(number) for number in numbers) and -9999.0 in numbers
    assert r"\xe2" in [token.token for token in logprobs.content]
    streamed = _tokens_of_stream(chat(http, TEXT, stream=True, logprobs=True, top_logprobs=4))
    assert streamed == [token.model_dump() for token in logprobs.content]


@pytest.mark.parametrize("stop", ["STOP", "ST", "o"])
def test_c23_tokens_behind_a_stop_string_are_not_reported(http: httpx.Client, stop: str) -> None:
    fields = {"logprobs": True, "stop": [stop]}
    whole = chat(http, "aSTbSTOP", **fields).json()["choices"][0]
    expected = whole["message"]["content"]
    tokens = whole["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == expected
    assert _tokens_of_stream(chat(http, "aSTbSTOP", stream=True, **fields)) == tokens


def test_c23_without_alternatives(http: httpx.Client) -> None:
    tokens = chat(http, "hi", logprobs=True).json()["choices"][0]["logprobs"]["content"]
    assert [token["top_logprobs"] for token in tokens] == [[], []]
    assert chat(http, "hi", logprobs=False).json()["choices"][0]["logprobs"] is None


def test_c23_completions_form(client: openai.OpenAI, http: httpx.Client) -> None:
    completion = client.completions.create(model="tiny-alias", prompt=TEXT, logprobs=3, max_tokens=40)
    choice = completion.choices[0]
    assert choice.text == TEXT and choice.logprobs is not None
    tokens, offsets = choice.logprobs.tokens or [], choice.logprobs.text_offset or []
    assert len(tokens) == len(offsets) == len(choice.logprobs.token_logprobs or [])
    assert all(len(top) == 3 for top in choice.logprobs.top_logprobs or [])
    for token, offset in zip(tokens, offsets, strict=True):
        assert token.startswith("bytes:") or TEXT.startswith(token, offset)
    body = {"prompt": TEXT, "logprobs": 3, "max_tokens": 40, "stream": True}
    chunks = [r["choices"][0]["logprobs"] for r in records(http.post("/v1/completions", json=body))]
    assert [offset for chunk in chunks for offset in chunk["text_offset"]] == offsets
    none = http.post("/v1/completions", json={"prompt": TEXT, "logprobs": 0}).json()["choices"][0]
    assert none["logprobs"]["top_logprobs"] is None and none["logprobs"]["tokens"]


@pytest.mark.parametrize("count", [0, 3])
def test_prompts_in_vllms_form(http: httpx.Client, count: int) -> None:
    fields = {"prompt": ["spam a☃", "b"], "n": 2, "max_tokens": 2, "prompt_logprobs": count, "return_token_ids": True}
    for choice in http.post("/v1/completions", json=fields).json()["choices"]:
        first, *rest = choice["prompt_logprobs"]
        assert first is None and len(rest) == len(choice["prompt_token_ids"]) - 1 and choice["logprobs"] is None
        for token_id, entry in zip(choice["prompt_token_ids"][1:], rest, strict=True):
            assert next(iter(entry)) == str(token_id) and len(entry) == max(1, count)
            assert [value["rank"] for value in entry.values()] == [*range(1, 1 + len(entry))]
            own = entry[str(token_id)]
            assert own["logprob"] == -0.25 and own["decoded_token"] in "spam a☃ \ufffd"


def test_prompts_of_chats_and_alone(http: httpx.Client) -> None:
    answer = chat(http, "hi", prompt_logprobs=1, logprobs=True).json()
    assert len(answer["prompt_logprobs"]) == answer["usage"]["prompt_tokens"]
    assert answer["choices"][0]["logprobs"] == chat(http, "hi", logprobs=True).json()["choices"][0]["logprobs"]
    assert "prompt_logprobs" not in chat(http, "hi").json()
    alone = {"prompt": "abc", "max_tokens": 0, "prompt_logprobs": 0}
    (choice,) = http.post("/v1/completions", json=alone).json()["choices"]
    assert (choice["text"], len(choice["prompt_logprobs"])) == ("", 3)


@pytest.mark.parametrize("fields", [{"stream": True}, {"echo": True, "logprobs": 2}, {"prompt_logprobs": 21}])
def test_prompt_logprobs_that_cannot_be(http: httpx.Client, fields: dict[str, Any]) -> None:
    response = http.post("/v1/completions", json={"prompt": "a", "prompt_logprobs": 1, **fields})
    assert error_of(response, 400)["param"] == "prompt_logprobs"


@pytest.mark.parametrize(("skip", "expected"), [(False, "a<|endoftext|>b"), (True, "ab"), (None, "ab")])
def test_special_tokens_in_the_text(http: httpx.Client, skip: bool | None, expected: str) -> None:
    fields = {"skip_special_tokens": skip, "logprobs": True}
    choice = chat(http, "@special a<|endoftext|>b", **fields).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (expected, "stop")
    assert "".join(token["token"] for token in choice["logprobs"]["content"]) == expected
    streamed = records(chat(http, "@special a<|endoftext|>b", stream=True, **fields))
    assert "".join(record["choices"][0]["delta"].get("content", "") for record in streamed) == expected
