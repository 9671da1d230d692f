"""Answers with guesses are those without them, token by token, on the native path: however tokens are chosen."""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import Any

import pytest

from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import RequestOutput, SamplingParams
from llmrt.errors import ConfigError
from llmrt.text.grammar import choice_grammar, json_schema_grammar, regex_grammar
from tests.engines import answer, greedy, open_engine, prompt, shrink_pool, tokens
from tests.scripted import Remembered, verify_all_guesses
from tests.tiny import make_model, save_model
from tests.tiny_vocabulary import SIZE, write_vocabulary

SHAPE = {"hidden_size": 160, "intermediate_size": 224, "head_dim": 32, "num_attention_heads": 4, "vocab_size": SIZE + 9}
FAMILIES = {
    "llama": ("llama", {}),
    "mistral": ("mistral", {"sliding_window": 16}),
    "mixtral": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": ["x", "yy"]}, "n": {"type": "integer"}},
    "required": ["a", "n"],
}
PARAMS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "drawn": {"temperature": 1.2, "top_p": 0.9, "top_k": 40, "min_p": 0.01},
    "penalised": {"temperature": 0.8, "repetition_penalty": 1.3, "frequency_penalty": 0.5, "presence_penalty": 0.3},
    "biased": {"temperature": 0, "logit_bias": {5: 3.0, 7: -100.0}},
    "masked": {"temperature": 0.9, "allowed_token_ids": tuple(range(4, 24)), "bad_words": ((5,), (6, 7), (8, 8))},
    "stopped": {"temperature": 0.9, "stop_token_ids": frozenset(range(20, 36))},
    "reported": {"temperature": 0.7, "logprobs": 3},
    "schema": {"temperature": 1.0, "grammar": json_schema_grammar(SCHEMA, param="schema")},
    "regex": {"temperature": 0, "grammar": regex_grammar("[a-f]{2,20}(-[0-9]+)?", param="regex")},
    "choice": {"temperature": 0, "grammar": choice_grammar(["yes", "no", "yes, but"], param="choice")},
}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family, fields = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    save_model(make_model(family, **{**SHAPE, **fields}), folder)
    return write_vocabulary(folder)


def guessing(folder: Path, answers: dict[str, list[int]], **settings: Any) -> LLMEngine:
    engine = open_engine(folder, speculate="ngram", **settings)
    assert engine._speculation is not None
    engine._speculation._proposer = Remembered(answers)
    return engine


Submitted = dict[str, tuple[list[int], SamplingParams]]


def generated(outputs: dict[str, list[RequestOutput]]) -> dict[str, list[int]]:
    return {request_id: tokens(own) for request_id, own in outputs.items()}


SETTINGS = [{"quant": "int4"}, {"quant": "int8"}, {"dtype": "fp32"}, {"dtype": "bf16"}]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_answers_are_the_same_however_they_are_chosen(
    folder: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_all_guesses(monkeypatch)
    requests = {
        name: (prompt(20 + i, seed=i), SamplingParams(seed=i, max_tokens=30, **fields))
        for i, (name, fields) in enumerate(PARAMS.items())
    }
    plain = answer(open_engine(folder, **settings), requests)
    engine = guessing(folder, generated(plain), **settings)
    assert generated(answer(engine, requests)) == generated(plain)
    assert 0 < engine.stats.num_accepted_tokens < engine.stats.num_draft_tokens


def test_where_no_token_is_left_that_request_alone_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verify_all_guesses(monkeypatch)
    stuck = SamplingParams(allowed_token_ids=(5, 6), bad_words=((6,), (5, 5, 5)), max_tokens=9)
    requests = {"stuck": (prompt(9), stuck), "other": (prompt(12), SamplingParams(temperature=0, max_tokens=9))}
    plain = open_engine(folder)
    for engine in (plain, guessing(folder, {"stuck": [5] * 9, "other": greedy(plain, prompt(12), 9)})):
        outputs = answer(engine, requests)
        last = outputs["stuck"][-1]
        assert last.finish_reason == "error" and last.refused
        assert last.error is not None and "next: allowed_token_ids and bad_words (or" in last.error
        assert set(tokens(outputs["stuck"])) == {5} and len(tokens(outputs["other"])) == 9


def test_reports_ends_and_lengths_are_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verify_all_guesses(monkeypatch)
    fields = {name: PARAMS[name] for name in ("reported", "stopped", "greedy", "schema")}
    requests = {
        name: (prompt(9, seed=i), SamplingParams(seed=i, max_tokens=25, **{"logprobs": 2, **own}))
        for i, (name, own) in enumerate(fields.items())
    }
    plain = answer(open_engine(folder, dtype="fp32"), requests)
    others = answer(guessing(folder, generated(plain), dtype="fp32"), requests)
    for name, outputs in plain.items():
        assert others[name][-1].finish_reason == outputs[-1].finish_reason
        assert reports(others[name]) == reports(outputs)
    assert sum(map(len, others.values())) < sum(map(len, plain.values()))


def reports(outputs: list[RequestOutput]) -> list[object]:
    return [entry for output in outputs for entry in output.logprobs or ()]


@pytest.mark.parametrize("settings", [{}, {"prefix_caching": True}], ids=str)
def test_preempted_and_cached_requests_are_answered_the_same(
    folder: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_all_guesses(monkeypatch)
    shared = prompt(17)
    requests = {
        str(i): ([*shared, *prompt(3 + i, seed=i)], SamplingParams(temperature=0.9 * (i % 2), seed=i, max_tokens=40))
        for i in range(5)
    }
    plain = generated(answer(open_engine(folder, quant="int4", context_length=64), requests))
    engine = guessing(folder, plain, quant="int4", context_length=64, **settings)
    shrink_pool(engine)
    for _ in range(2):  # the second time the prompts are cached
        assert generated(answer(engine, requests)) == plain
    assert engine.stats.num_preemptions > 0 < engine.stats.num_accepted_tokens


def test_drawn_tokens_keep_their_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Second tokens, where the guess is always the likeliest one, against the chances that a plain step reports."""
    verify_all_guesses(monkeypatch)
    save_model(make_model("llama", **SHAPE), tmp_path)
    token_ids, plain = prompt(12), open_engine(tmp_path, dtype="fp32")
    first = greedy(plain, token_ids, 1)
    expected = likeliest(plain, [*token_ids, *first])
    guess, count = next(iter(expected)), 1200
    engine = guessing(tmp_path, {str(i): [0, guess] for i in range(count)}, dtype="fp32", max_num_seqs=32)
    params = [SamplingParams(top_k=len(expected), seed=i, max_tokens=3) for i in range(count)]
    drawn = generated(answer(engine, {str(i): (token_ids, own) for i, own in enumerate(params)}))
    seconds = [own[1] for own in drawn.values() if own[0] == first[0]]
    assert engine.stats.num_draft_tokens > count / 2
    for token, probability in expected.items():
        deviation = (probability * (1 - probability) / len(seconds)) ** 0.5
        assert seconds.count(token) / len(seconds) == pytest.approx(probability, abs=4 * deviation)


def likeliest(engine: LLMEngine, token_ids: list[int]) -> dict[int, float]:
    """The chances of the four likeliest tokens, if it is one of them."""
    outputs = answer(engine, {"r": (token_ids, SamplingParams(max_tokens=1, logprobs=4))})["r"]
    assert outputs[0].logprobs is not None
    chances = {token: exp(logprob) for token, logprob in outputs[0].logprobs[0].top}
    return {token: chance / sum(chances.values()) for token, chance in chances.items()}


def test_what_cannot_verify_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(make_model("llama"), tmp_path)  # of a shape that the native kernels do not serve
    with pytest.raises(ConfigError, match=r"--speculate ngram .* native kernels"):
        open_engine(tmp_path, speculate="ngram")
    assert open_engine(tmp_path, speculate="auto")._speculation is None
