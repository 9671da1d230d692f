"""What reaches the engine as ``SamplingParams``: the scripted engine answers with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import openai
from serving import chat, content, error_of, serving, write_model

from llmrt.config import ServerSettings


def params(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    return json.loads(content(chat(http, "@params", **fields)))


def test_fields_not_sent_are_the_models_defaults(http: httpx.Client) -> None:
    got = params(http)
    assert (got["temperature"], got["top_p"], got["top_k"], got["min_p"]) == (0.6, 0.9, 0, 0)
    assert (got["seed"], got["max_tokens"], got["logprobs"]) == (None, None, None)
    assert params(http, temperature=None, top_p=None) == got


def test_a_publishers_top_k_above_the_vocabulary_is_all_of_it(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny")
    (path / "generation_config.json").write_text('{"do_sample": true, "top_k": 1000000000}')
    with serving(path, ServerSettings()) as served, served.http() as http:
        size = params(http)["top_k"]
        assert 256 < size < 1000
        assert error_of(chat(http, "x", top_k=size + 1), 400)["param"] == "top_k"


def test_fields_sent_win(http: httpx.Client) -> None:
    asked: dict[str, Any] = {
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 40,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "frequency_penalty": -0.5,
        "presence_penalty": 0.5,
        "seed": 12,
    }
    got = params(http, **asked, logit_bias={"7": -100, "8": 2.5}, max_completion_tokens=400)
    assert {name: got[name] for name in asked} == asked
    assert got["logit_bias"] == {"7": -100.0, "8": 2.5} and got["max_tokens"] == 400
    assert params(http, top_k=-1)["top_k"] == 0


def test_tokens_that_may_not_come(http: httpx.Client) -> None:
    got = params(http, allowed_token_ids=[5, 267], bad_words=["no", " q", "\n"])
    assert got["allowed_token_ids"] == [5, 267]
    assert got["bad_words"] == [[*text.encode()] for text in ("no", " no", "q", " q", "\n", " \n")]


def test_biases_in_llama_cpps_form(http: httpx.Client) -> None:
    got = params(http, logit_bias=[[7, 1], ["ab", -0.5], [97, 2.5], [9, False], ["c", False]])
    assert got["logit_bias"] == {"7": 1.0, "97": 2.0, "98": -0.5} and sorted(got["bad_words"]) == [[9], [99]]
    assert params(http, logit_bias=[])["logit_bias"] == {}


def test_biases_of_one_token_are_added_and_refused_as_they_were_sent(http: httpx.Client) -> None:
    assert params(http, logit_bias=[[7, 60], [7, 70], [7, -50]])["logit_bias"] == {"7": 80.0}
    for bias, sent in (
        ([[7, 60], [7, 70.5]], "60.0 + 70.5 is 130.5"),
        ([["aa", -60]], "-60.0 + -60.0 is -120.0"),
        ([["a" * 30, 12.5]], "12.5 + 12.5 + 12.5 + ... is 375.0"),
    ):
        error = error_of(chat(http, "hi", logit_bias=bias), 400)
        assert error["param"] == "logit_bias" and f"are added: {sent};" in error["message"]
    message = error_of(chat(http, "hi", logit_bias={"7": 130}), 400)["message"]
    assert message.startswith("logit_bias of token 7 is 130.0; it must be")


def test_the_models_end_tokens_stop_unless_ignored(http: httpx.Client) -> None:
    (end,) = params(http)["stop_token_ids"]
    assert sorted(params(http, stop_token_ids=[5])["stop_token_ids"]) == [5, end]
    fields = {"ignore_eos": True, "stop_token_ids": [ord("]")]}
    assert content(chat(http, "@params", **fields)).endswith('"stop_token_ids":[93')


def test_min_tokens_matter_where_a_token_can_end_the_answer(http: httpx.Client) -> None:
    assert params(http, min_tokens=9)["min_tokens"] == 9
    assert '"min_tokens":0,' in content(chat(http, "@params", min_tokens=9, ignore_eos=True, max_tokens=400))


def test_logprobs_count_alternatives(http: httpx.Client) -> None:
    assert params(http, logprobs=True)["logprobs"] == 0
    assert params(http, logprobs=True, top_logprobs=3)["logprobs"] == 3


def test_extras_come_by_extra_body(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model="tiny-alias",
        messages=[{"role": "user", "content": "@params"}],
        extra_body={"top_k": 5, "min_p": 0.2},
    )
    got = json.loads(completion.choices[0].message.content or "")
    assert (got["top_k"], got["min_p"]) == (5, 0.2)


def test_special_tokens_around_a_text_are_a_choice(http: httpx.Client) -> None:
    for value in (True, False):
        body = {"prompt": "a", "add_special_tokens": value, "return_token_ids": True}
        answer = http.post("/v1/completions", json=body).json()
        assert answer["choices"][0]["prompt_token_ids"] == [*b"a"]  # this tokenizer has none to add
