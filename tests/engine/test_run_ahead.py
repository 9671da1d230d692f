"""Steps that are launched before the last one's tokens are known give the same answers as steps that wait. No torch."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from llmrt.engine.kv.manager import KVCacheManager, peak_blocks
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import PENDING, RequestOutput, SamplingParams
from llmrt.engine.scheduler import Scheduler
from tests.scripted import (
    CONTEXT,
    VOCAB,
    LateScriptedRunner,
    ScriptedRunner,
    collect,
    expected_answer,
    next_token,
)

MakeEngine = Callable[[type[ScriptedRunner]], LLMEngine]


def engine_maker(rng: random.Random) -> MakeEngine:
    """Engines alike but for their runners."""
    block_size, window, budget = rng.choice([1, 4, 16]), rng.choice([None, 5, 16]), rng.choice([4, 8, 64])
    num_blocks = 1 + peak_blocks(CONTEXT, budget, block_size, window) + rng.randrange(12)

    def make(runner: type[ScriptedRunner]) -> LLMEngine:
        kv = KVCacheManager(num_blocks, block_size, sliding_window=window)
        scheduler = Scheduler(kv, max_num_seqs=4, max_num_batched_tokens=budget, context_length=CONTEXT)
        return LLMEngine(scheduler, runner(block_size, window))

    return make


def random_params(rng: random.Random) -> SamplingParams:
    stops = frozenset(rng.sample(range(VOCAB), 3)) if rng.random() < 0.5 else frozenset[int]()
    return SamplingParams(
        max_tokens=rng.choice([None, 1, 2, rng.randrange(1, 40)]),
        stop_token_ids=stops,
        logprobs=0 if rng.random() < 0.1 else None,
    )


def run(
    engine: LLMEngine,
    rng: random.Random,
    requests: dict[str, tuple[list[int], SamplingParams]],
    *,
    several_at_once: bool = False,
) -> None:
    """Add and abort at random; check that every request gets its own answer, once, and that all blocks come back."""
    answers: dict[str, list[RequestOutput]] = {name: [] for name in requests}
    left, aborted = list(requests), dict[str, int]()
    while left or engine.has_work:
        if left and rng.random() < 0.3:
            engine.add(left[0], *requests[left.pop(0)])
        if rng.random() < 0.05:
            victim = rng.choice(list(requests))
            if victim not in left:
                engine.abort(victim)
                aborted.setdefault(victim, sum(len(output.token_ids) for output in answers[victim]))
        for output in engine.step() if engine.has_work else []:
            answers[output.request_id].append(output)
        engine.scheduler.check_integrity()
    for name, (prompt, params) in requests.items():
        check_answer(answers[name], prompt, params, aborted.get(name), several_at_once=several_at_once)
    pool = engine.scheduler.kv._pool
    assert pool.num_free == pool.num_blocks - 1


def check_answer(
    outputs: list[RequestOutput],
    prompt: list[int],
    params: SamplingParams,
    aborted_after: int | None,
    *,
    several_at_once: bool,
) -> None:
    expected = expected_answer(prompt, params.max_tokens or CONTEXT)
    stop = next((i for i, token in enumerate(expected) if token in params.stop_token_ids), None)
    expected, reason = (expected, "length") if stop is None else (expected[: stop + 1], "stop")
    got = [token for output in outputs for token in output.token_ids]
    reasons = [output.finish_reason for output in outputs]
    if aborted_after is not None and got != expected:
        assert got == expected[:aborted_after] and set(reasons) <= {None}
    else:
        assert got == expected and reasons == [None] * (len(reasons) - 1) + [reason]
        assert several_at_once or len(reasons) == len(expected)


@pytest.mark.parametrize("runner", [ScriptedRunner, LateScriptedRunner])
@pytest.mark.parametrize("seed", range(80))
def test_random_schedules_answer_right(seed: int, runner: type[ScriptedRunner]) -> None:
    rng = random.Random(seed)
    make = engine_maker(rng)
    shared = [rng.randrange(VOCAB) for _ in range(40)]
    requests = {
        str(i): (shared[: rng.randrange(40)] + rng.choices(range(VOCAB), k=rng.randrange(1, 20)), random_params(rng))
        for i in range(25)
    }
    run(make(runner), rng, requests)


def late_engine(extra_blocks: int = 60) -> tuple[LLMEngine, LateScriptedRunner]:
    runner = LateScriptedRunner(4, None)
    kv = KVCacheManager(1 + peak_blocks(CONTEXT, 8, 4, None) + extra_blocks, 4)
    scheduler = Scheduler(kv, max_num_seqs=4, max_num_batched_tokens=8, context_length=CONTEXT)
    return LLMEngine(scheduler, runner), runner


def test_a_step_is_sent_off_before_the_last_ones_tokens_are_out() -> None:
    engine, runner = late_engine()
    engine.add("r", [1, 2], SamplingParams(max_tokens=3))
    assert engine.step() == []
    assert [output.token_ids for output in engine.step()] == [(next_token([1, 2]),)]
    assert len(runner.steps) == 2


def test_a_length_is_counted_so_no_step_is_computed_beyond_it() -> None:
    engine, runner = late_engine()
    engine.add("r", [1, 2], SamplingParams(max_tokens=3))
    while engine.has_work:
        engine.step()
    assert len(runner.steps) == 3


def test_a_stop_token_costs_one_row_that_is_dropped() -> None:
    engine, runner = late_engine()
    stop = expected_answer([1, 2], 2)[-1]
    engine.add("r", [1, 2], SamplingParams(stop_token_ids=frozenset([stop])))
    outputs = [output for _ in range(9) if engine.has_work for output in engine.step()]
    assert [output.finish_reason for output in outputs] == [None, "stop"]
    assert len(runner.steps) == 3


def test_where_tokens_must_be_known_nothing_runs_ahead() -> None:
    engine, _ = late_engine()
    engine.add("plain", [1, 2], SamplingParams(max_tokens=8))
    engine.add("penalised", [3, 4], SamplingParams(max_tokens=4, repetition_penalty=1.5))
    while "penalised" in engine.scheduler._by_id:
        assert len(engine.step()) == 2
        assert all(PENDING not in request.token_ids for request in engine.scheduler._running)
    engine.step()
    assert all(PENDING in request.token_ids for request in engine.scheduler._running)


def test_tight_pools_preempt_requests_whose_token_is_pending() -> None:
    engine, _ = late_engine(extra_blocks=2)
    prompts = [[i] * 10 for i in range(4)]
    for i, prompt in enumerate(prompts):
        engine.add(str(i), prompt, SamplingParams(max_tokens=40))
    answers: dict[str, list[int]] = {}
    while engine.has_work:
        collect(engine.step(), answers)
    assert engine.scheduler.num_preemptions > 0
    assert answers == {str(i): expected_answer(prompt, 40) for i, prompt in enumerate(prompts)}
