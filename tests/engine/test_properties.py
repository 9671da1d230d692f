"""What must hold of the whole engine, on tiny random models: how tokens are computed does not change which they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams
from tests.engines import greedy, open_engine, prompt, run, score, shrink_pool, tokens


def test_cached_decode_equals_scoring_the_whole(folder: Path) -> None:
    engine = open_engine(folder)
    token_ids = prompt(21)
    engine.add("r", token_ids, SamplingParams(temperature=0, max_tokens=30, logprobs=0))
    outputs = run(engine)["r"]
    whole = score(engine, [*token_ids, *tokens(outputs)]).log_softmax(-1)
    for i, output in enumerate(outputs):
        assert output.logprobs is not None
        expected = whole[len(token_ids) - 1 + i, output.token_ids[0]].item()
        assert output.logprobs[0].logprob == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("length", [1, 8, 31, 32, 33, 64, 100])
def test_chunked_prefill_equals_whole_prefill(folder: Path, length: int) -> None:
    token_ids = prompt(length)
    chunked = score(open_engine(folder, max_num_batched_tokens=8), token_ids)
    whole = score(open_engine(folder, max_num_batched_tokens=512), token_ids)
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("length", [16, 17, 32, 45, 64])
def test_prefix_hit_equals_miss(folder: Path, length: int) -> None:
    cold, warm = open_engine(folder), open_engine(folder, prefix_caching=True)
    shared = prompt(length)
    for tail in ([], [5], prompt(11, seed=1)):
        assert greedy(warm, [*shared, *tail], 12) == greedy(cold, [*shared, *tail], 12)
    warm.add("again", [*shared, 7, 7], SamplingParams(temperature=0, max_tokens=1))
    assert run(warm)["again"][0].num_cached_tokens >= (length // 16) * 16


def test_preempted_and_resumed_equals_never_preempted(folder: Path) -> None:
    prompts = [prompt(20 + i, seed=i) for i in range(5)]
    roomy, tight = open_engine(folder, context_length=64), open_engine(folder, context_length=64)
    shrink_pool(tight)
    answers = [answer_all(engine, prompts) for engine in (roomy, tight)]
    assert tight.scheduler.num_preemptions > 0 == roomy.scheduler.num_preemptions
    assert answers[0] == answers[1]


def answer_all(engine: LLMEngine, prompts: list[list[int]]) -> list[list[int]]:
    for i, token_ids in enumerate(prompts):
        engine.add(str(i), token_ids, SamplingParams(temperature=0.9, seed=i, max_tokens=40))
    outputs = run(engine)
    return [tokens(outputs[str(i)]) for i in range(len(prompts))]


def test_a_batch_equals_its_requests_alone(folder: Path) -> None:
    prompts = [prompt(length, seed=3) for length in (1, 5, 8, 19, 40, 3, 64, 30)]
    together = answer_all(open_engine(folder), prompts)
    engine = open_engine(folder)
    for i, token_ids in enumerate(prompts):
        engine.add("alone", token_ids, SamplingParams(temperature=0.9, seed=i, max_tokens=40))
        assert tokens(run(engine)["alone"]) == together[i]


def test_requests_that_arrive_and_leave_at_random_do_not_disturb_each_other(folder: Path) -> None:
    engine = open_engine(folder, prefix_caching=True, max_num_seqs=3)
    alone = greedy(open_engine(folder), prompt(33), 40)
    engine.add("watched", prompt(33), SamplingParams(temperature=0, max_tokens=40))
    seen: list[int] = []
    for step in range(80):
        if step % 3 == 0:
            engine.add(f"other{step}", prompt(20 + step % 30, seed=step % 4), SamplingParams(max_tokens=9))
        if step % 7 == 0:
            engine.abort(f"other{step - 3}")
        outputs = engine.step() if engine.has_work else []
        seen += [token for output in outputs if output.request_id == "watched" for token in output.token_ids]
        engine.scheduler.check_integrity()
    assert seen == alone


def test_kv_cache_of_another_type_stays_near(folder: Path) -> None:
    token_ids = prompt(60)
    exact, rounded = score(open_engine(folder), token_ids), score(open_engine(folder, kv_dtype="bf16"), token_ids)
    difference = (exact - rounded).norm() / exact.norm()
    assert 0 < difference < 0.05
