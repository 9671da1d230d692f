"""The sampler against transformers' logits processors, and its draws against their distribution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llmrt.engine.request import Request, SamplingParams
from llmrt.engine.sampling.sampler import Sampler, penalise, report
from llmrt.ops.types import OpSpec
from llmrt_kernels.reference.sample import draw, truncated, uniform

VOCAB = 1000
sample = Sampler(OpSpec("cpu", torch.float32, in_blocks=True)).sample


def logits(seed: int) -> torch.Tensor:
    return torch.randn(VOCAB, generator=torch.Generator().manual_seed(seed)) * 3


def request(prompt: list[int], output: list[int] | None = None, **params: Any) -> Request:
    made = Request("r", list(prompt), SamplingParams(**params))
    made.token_ids += output or []
    return made


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0.3},
        {"top_k": 1},
        {"top_k": 40},
        {"top_p": 0.9},
        {"top_p": 0.9999},
        {"top_p": 1e-6},
        {"min_p": 0.1},
        {"temperature": 1.7, "top_k": 200, "top_p": 0.8, "min_p": 0.02},
    ],
)
def test_truncation_equals_transformers(params: dict[str, Any], seed: int) -> None:
    warpers = LogitsProcessorList([TemperatureLogitsWarper(params.get("temperature", 1.0))])
    if "top_k" in params:
        warpers.append(TopKLogitsWarper(params["top_k"]))
    if "top_p" in params:
        warpers.append(TopPLogitsWarper(params["top_p"]))
    if "min_p" in params:
        warpers.append(MinPLogitsWarper(params["min_p"]))
    expected = warpers(torch.zeros(1, 0), logits(seed)[None]).softmax(-1)[0]
    probs = truncated(logits(seed), **{"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, **params})
    torch.testing.assert_close(probs / probs.sum(), expected)


def test_repetition_penalty_equals_transformers() -> None:
    processor = RepetitionPenaltyLogitsProcessor(1.7)
    seen = request([3, 5, 5, 900], [7, 3], repetition_penalty=1.7)
    expected = processor(torch.tensor([seen.token_ids]), logits(0)[None].clone())[0]
    torch.testing.assert_close(penalise(logits(0), seen), expected)


def test_a_repetition_penalty_near_zero_leaves_numbers() -> None:
    made = request([*range(50)], repetition_penalty=1e-300)
    probs = truncated(penalise(logits(0), made), temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
    assert logits(0)[draw(probs, 0.5)] > 0 and draw(probs, 0.5) < 50


def test_frequency_and_presence_penalties_and_bias_follow_openais_formula() -> None:
    made = request([1, 2], [5, 5, 9], frequency_penalty=0.5, presence_penalty=0.25, logit_bias={9: -100.0, 3: 4.0})
    expected = logits(1)
    expected[5] -= 2 * 0.5 + 0.25
    expected[9] -= 0.5 + 0.25 + 100
    expected[3] += 4
    torch.testing.assert_close(penalise(logits(1), made), expected)


@pytest.mark.parametrize("length", range(4))
def test_min_tokens_equal_transformers(length: int) -> None:
    best = [int(token) for token in logits(3).topk(3).indices]
    made = request([1, 2], [5] * length, temperature=0, stop_token_ids=frozenset(best[:2]), min_tokens=2)
    processor = MinNewTokensLengthLogitsProcessor(2, 2, best[:2])
    expected = processor(torch.tensor([made.token_ids]), logits(3)[None].clone())
    (chosen,) = sample(logits(3)[None], [made])
    assert chosen.token_id == expected.argmax() and not made.is_plain


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_bad_words_equal_transformers(temperature: float) -> None:
    best = [int(token) for token in logits(3).topk(6).indices]
    words = ((best[0],), (1, best[1]), (5, 1, best[2]), (2, 1, best[3]), (7, 7, 5, 1, best[4]))
    made = request([2, 1], [5, 1], temperature=temperature, top_k=1, bad_words=words)
    processor = NoBadWordsLogitsProcessor([list(word) for word in words])
    expected = processor(torch.tensor([made.token_ids]), logits(3)[None].clone())
    (chosen,) = sample(logits(3)[None], [made])
    assert chosen.token_id == expected.argmax() == best[3] and not made.is_plain
    assert sample(logits(3)[None], [request([5], [1], temperature=0, bad_words=words)])[0].token_id == best[2]


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_only_allowed_tokens_are_chosen(temperature: float) -> None:
    allowed = (7, 950, 31)
    made = request([1], temperature=temperature, allowed_token_ids=allowed)
    drawn = {sample(logits(seed)[None], [made])[0].token_id for seed in range(40)}
    assert drawn == set(allowed) and not made.is_plain
    (chosen,) = sample(logits(3)[None], [request([1], temperature=0, allowed_token_ids=allowed)])
    assert chosen.token_id == max(allowed, key=logits(3).__getitem__)


def test_where_no_token_is_left_there_is_an_error() -> None:
    for drawing in ({"temperature": 0}, {"top_p": 0.9}):
        made = request([1], allowed_token_ids=(5, 6), bad_words=((5,), (6,)), **drawing)
        assert "allowed_token_ids" in str(sample(logits(3)[None], [made])[0].error)


def test_the_error_names_what_still_forbids() -> None:
    asked = {"allowed_token_ids": (5,), "stop_token_ids": frozenset({5}), "bad_words": ((5,),), "min_tokens": 2}
    names = ["allowed_token_ids and bad_words (or false in logit_bias)"]
    for output, named in (([7], [*names, "min_tokens"]), ([7, 7], names)):
        (chosen,) = sample(logits(3)[None], [request([1], output, **asked)])
        assert chosen.error == f"No token may come next: {' and '.join(named)} leave none."


def test_draws_follow_the_distribution() -> None:
    probs = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0]) * 7
    count = 20_000
    drawn = torch.tensor([draw(probs, uniform(42, i)) for i in range(count)]).bincount(minlength=6) / count
    torch.testing.assert_close(drawn, probs / 7, atol=0.015, rtol=0)
    assert drawn[[0, 2, 5]].sum() == 0


@pytest.mark.parametrize("temperature", [1e-6, 1e-38, 1e-45, 1e-300])
def test_however_cold_it_is_the_likeliest_is_drawn(temperature: float) -> None:
    logits = torch.randn(512, generator=torch.Generator().manual_seed(1)) * 10
    logits[::2] = -torch.inf  # as a grammar forbids them
    probs = truncated(logits, temperature, top_k=40, top_p=0.9, min_p=0.0)
    assert {draw(probs, u) for u in (0.0, 0.3, 0.999)} == {int(logits.argmax())}


def test_draws_stay_inside_at_both_ends() -> None:
    probs = torch.tensor([0.0, 0.25, 0.75, 0.0])
    assert draw(probs, 0.0) == 1
    assert draw(probs, 1 - 2**-53) == 2


def test_uniform_streams_are_flat_and_independent() -> None:
    values = torch.tensor([[uniform(seed, i) for i in range(500)] for seed in (0, 1, 2**63, -1)])
    assert (values.min() >= 0) and (values.max() < 1)
    assert (values.mean(1) - 0.5).abs().max() < 0.05
    correlation = torch.corrcoef(values) - torch.eye(4)
    assert correlation.abs().max() < 0.15


def test_a_requests_draw_does_not_depend_on_its_batch() -> None:
    rows = torch.stack([logits(seed) for seed in range(6)])
    requests = [request([i], seed=i, temperature=0.9) for i in range(6)]
    together = [chosen.token_id for chosen in sample(rows, requests)]
    alone = [sample(rows[i : i + 1], [requests[i]])[0].token_id for i in range(6)]
    assert together == alone
    assert sample(rows[2:3], [request([0], seed=2, temperature=0.9)])[0].token_id == together[2]


def test_without_a_seed_requests_differ() -> None:
    flat = torch.zeros(1, VOCAB)
    drawn = {sample(flat, [request([1])])[0].token_id for _ in range(20)}
    assert len(drawn) > 10


def test_greedy_and_logprobs() -> None:
    made = request([1], temperature=0, logprobs=3)
    (chosen,) = sample(logits(3)[None], [made])
    expected = logits(3).log_softmax(-1)
    assert chosen.token_id == int(expected.argmax())
    assert chosen.logprob is not None
    assert chosen.logprob.logprob == pytest.approx(expected.max().item(), abs=1e-5)
    assert [token for token, _ in chosen.logprob.top] == expected.topk(3).indices.tolist()


def test_logprobs_are_those_of_the_model_before_sampling_changes_them() -> None:
    made = request([1], temperature=0, logprobs=0, logit_bias={17: 100.0})
    (chosen,) = sample(logits(4)[None], [made])
    assert chosen.token_id == 17
    assert [chosen.logprob] == report(logits(4)[None], [17], 0)
