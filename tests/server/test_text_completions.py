"""``/v1/completions``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import tokenizers
from serving import SPECIALS, error_of, records, serving, streamed_text, write_model

from llmrt.config import ServerSettings
from llmrt.engine.request import TokenLogprob
from llmrt.server.choice import Delta
from llmrt.server.shared_scores import SharedScores


def complete(http: httpx.Client, **body: Any) -> httpx.Response:
    return http.post("/v1/completions", json={"max_tokens": 40, **body})


def delta(index: int, text: str, prompt_logprobs: list[TokenLogprob] | None = None) -> Delta:
    nothing: dict[str, Any] = dict.fromkeys(("finish_reason", "stop_reason", "diverged_at"))
    zeros: dict[str, Any] = dict.fromkeys(("num_cached_tokens", "num_disk_tokens", "num_reasoning_tokens"), 0)
    lists: dict[str, Any] = {"calls": [], "token_ids": [], "logprobs": [], "prompt_logprobs": prompt_logprobs or []}
    return Delta(index=index, text=text, reasoning="", **nothing, **zeros, **lists)


def texts(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    choices = response.json()["choices"]
    assert [choice["index"] for choice in choices] == [*range(len(choices))]
    return [choice["text"] for choice in choices]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("hello", ["hello"]),
        (["hello", "☃"], ["hello", "☃"]),
        ([*b"ids"], ["ids"]),
        ([[*b"one"], [*b"two"]], ["one", "two"]),
        (["text", [*b"ids"]], ["text", "ids"]),
    ],
)
def test_c41_forms_of_prompt(http: httpx.Client, prompt: Any, expected: list[str]) -> None:
    assert texts(complete(http, prompt=prompt)) == expected
    stream = complete(http, prompt=prompt, stream=True)
    assert [streamed_text(stream, index) for index in range(len(expected))] == expected


def test_c41_shape(client: openai.OpenAI, http: httpx.Client) -> None:
    whole = client.completions.create(model="tiny-alias", prompt="hello")
    assert whole.object == "text_completion" and whole.id.startswith("cmpl-")
    assert whole.choices[0].finish_reason == "stop" and whole.usage is not None
    chunks = [*client.completions.create(model="tiny-alias", prompt="hello", stream=True)]
    assert len({chunk.id for chunk in chunks}) == 1 and chunks[-1].choices[0].finish_reason == "stop"
    *_, last = records(complete(http, prompt="hello", stream=True, stream_options={"include_usage": True}))
    assert last["choices"] == [] and last["usage"]["total_tokens"] == whole.usage.total_tokens


def test_c41_n_choices_of_each_prompt(http: httpx.Client) -> None:
    response = complete(http, prompt=["@random", "@random"], n=2, seed=3)
    a, b, c, d = texts(response)
    assert (a, b) == (c, d) and a != b
    assert response.json()["usage"]["prompt_tokens"] == 2 * len("@random")
    stream = complete(http, prompt=["@random", "@random"], n=2, seed=3, stream=True)
    assert [streamed_text(stream, index) for index in range(4)] == [a, b, c, d]


def test_c41_echo(http: httpx.Client) -> None:
    body = {"prompt": ["he said ☃", [*b"ids"]], "echo": True, "n": 2}
    expected = ["he said ☃" * 2] * 2 + ["idsids"] * 2
    assert texts(complete(http, **body)) == expected
    stream = complete(http, stream=True, **body)
    assert [streamed_text(stream, index) for index in range(4)] == expected


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", ["he said ☃", [*b"ids"]])
def test_c41_echo_with_logprobs_has_every_token_of_prompt_and_answer(
    http: httpx.Client, prompt: Any, stream: bool
) -> None:
    body = {"prompt": prompt, "echo": True, "logprobs": 2, "stream": stream}
    response = complete(http, **body, **({"stream_options": {"include_usage": True}} if stream else {}))
    parts = records(response) if stream else [response.json()]
    usage = parts[-1]["usage"]
    choices = [choice for part in parts for choice in part["choices"]]
    text = "".join(choice["text"] for choice in choices)
    tokens, values, tops, offsets = (
        [entry for choice in choices for entry in choice["logprobs"][name]]
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    )
    assert len(tokens) == len(values) == len(tops) == len(offsets) == usage["total_tokens"]
    assert tokens[-1] == "<|im_end|>" and offsets[-1] == len(text)  # lm-evaluation-harness counts on one that is new
    assert (values[0], tops[0]) == (None, None) and None not in values[1:]
    assert all(text.startswith(t, at) for t, at in zip(tokens, offsets, strict=True) if t.isascii() and t.isalpha())
    assert offsets[usage["prompt_tokens"]] == len(text) // 2


@pytest.mark.parametrize("stream", [False, True])
def test_c41_all_choices_of_a_prompt_have_its_scores(http: httpx.Client, stream: bool) -> None:
    body = {"prompt": ["@random", "he said"], "echo": True, "logprobs": 1, "seed": 3, "n": 2, "best_of": 2}
    if stream:
        choices = [choice for record in records(complete(http, **body, stream=True)) for choice in record["choices"]]
    else:
        choices = complete(http, **body).json()["choices"]
    for index in range(4):
        single = {**body, "prompt": body["prompt"][index // 2], "seed": 3 + index % 2, "n": 1, "best_of": 1}
        expected = complete(http, **single).json()["choices"][0]["logprobs"]
        parts = [choice["logprobs"] for choice in choices if choice["index"] == index]
        assert {name: [entry for part in parts for entry in part[name]] for name in expected} == expected


def test_a_prompt_is_scored_for_its_first_choice_alone() -> None:
    scores = [TokenLogprob(1, -0.5, 1)]
    shared = SharedScores(2)
    early = [delta(1, "a"), delta(1, "b")]
    assert [shared.share(each) for each in early] == [[], []]
    first = delta(0, "c", scores)
    assert shared.share(first) == [first, delta(1, "a", scores), delta(1, "b")]
    assert shared.share(delta(1, "d")) == [delta(1, "d")] and shared.share(delta(0, "e")) == [delta(0, "e")]
    assert shared.share(delta(3, "f")) == []  # of the next prompt


@pytest.mark.parametrize("stream", [False, True])
def test_c41_echo_of_no_tokens_scores_the_prompt_alone(http: httpx.Client, stream: bool) -> None:
    body = {"prompt": "he said", "echo": True, "logprobs": 2}
    more = complete(http, **body).json()["choices"][0]["logprobs"]
    response = complete(http, **body, max_tokens=0, stream=stream)
    (answer, *usage) = records(response) if stream else [response.json()]
    (choice,) = answer["choices"]
    assert (choice["text"], choice["finish_reason"], usage) == ("he said", "length", [])
    num_tokens = len(choice["logprobs"]["tokens"])
    assert choice["logprobs"] == {name: entries[:num_tokens] for name, entries in more.items()}
    assert stream or (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (num_tokens, 0)
    assert texts(complete(http, prompt=["a", "b"], echo=True, max_tokens=0)) == ["a", "b"]


def test_c16_a_prompt_alone_may_fill_the_context(http: httpx.Client) -> None:
    body = {"echo": True, "max_tokens": 0, "logprobs": 0}
    assert texts(complete(http, prompt="x" * 512, **body)) == ["x" * 512]
    for more in ({"prompt": "x" * 513, **body}, {"prompt": "x" * 512}):
        assert error_of(complete(http, **more), 400)["code"] == "context_length_exceeded"


def test_c41_sixteen_tokens_unless_asked(http: httpx.Client) -> None:
    answer = http.post("/v1/completions", json={"prompt": "@fill"}).json()
    assert answer["usage"]["completion_tokens"] == 16
    assert answer["choices"][0]["finish_reason"] == "length"


def test_c41_token_ids(http: httpx.Client) -> None:
    whole = complete(http, prompt=["a", "bc"], return_token_ids=True).json()["choices"]
    assert [choice["prompt_token_ids"] for choice in whole] == [[*b"a"], [*b"bc"]]
    assert whole[1]["token_ids"][:2] == [*b"bc"]
    stream = records(complete(http, prompt=["a"], return_token_ids=True, stream=True))
    assert [("prompt_token_ids" in record["choices"][0]) for record in stream].count(True) == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["a", 3]}, "prompt"),
        ({"prompt": [1, True]}, "prompt"),
        ({"prompt": [99_999]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": {"text": "a"}}, "prompt"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": [97], "suffix": "b"}, "suffix"),
        ({"prompt": "a", "suffix": "b", "echo": True}, "suffix"),
        ({"prompt": "a", "best_of": 3}, "best_of"),
        ({"prompt": "a", "logprobs": 21}, "logprobs"),
        ({"prompt": "a", "logprobs": True}, "logprobs"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": ["a"] * 17}, "n"),
    ],
)
def test_c41_faults(http: httpx.Client, body: dict[str, Any], param: str) -> None:
    assert error_of(complete(http, **body), 400)["param"] == param


@pytest.mark.parametrize(
    "marks",
    [
        ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
        ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
        ("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"),
    ],
)
def test_c41_a_gap_is_filled_between_the_marks_of_the_model(tmp_path: Path, marks: tuple[str, str, str]) -> None:
    path = write_model(tmp_path / "coder", specials=(*SPECIALS, *marks))
    ids = {mark: tokenizers.Tokenizer.from_file(str(path / "tokenizer.json")).token_to_id(mark) for mark in marks}
    with serving(path, ServerSettings()) as served, served.http() as http:
        body = {"prompt": f"a{marks[1]}", "suffix": "b", "return_token_ids": True}
        (choice,) = http.post("/v1/completions", json=body).json()["choices"]
        ollama = {"prompt": body["prompt"], "suffix": "b", "stream": False}
        count = http.post("/api/generate", json=ollama).json()["prompt_eval_count"]
    expected = [ids[marks[0]], *f"a{marks[1]}".encode(), ids[marks[1]], *b"b", ids[marks[2]]]
    assert choice["prompt_token_ids"] == expected and count == len(expected)


def test_c16_overflow_names_the_prompt(http: httpx.Client) -> None:
    error = error_of(complete(http, prompt=["short", "x" * 600], stream=True), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert "512" in error["message"] and "600" in error["message"]
