"""Scheduling and block accounting, on seeded random schedules with a scripted model. No torch."""

from __future__ import annotations

import random

import pytest

from llmrt.engine.interleave import Interleave
from llmrt.engine.kv.manager import KVCacheManager, peak_blocks
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams
from llmrt.engine.scheduler import Scheduler
from llmrt.engine.speculation.speculation import Speculation
from llmrt.engine.stats import EngineStats
from llmrt.errors import ContextLengthError, RequestError
from tests.scripted import CONTEXT, VOCAB, Oracle, ScriptedRunner, collect, expected_answer, verify_all_guesses


def make_engine(
    *,
    block_size: int = 4,
    window: int | None = None,
    extra_blocks: int = 0,
    budget: int = 8,
    max_num_seqs: int = 4,
    layers: int = 1,
    speculation: Speculation | None = None,
) -> tuple[LLMEngine, ScriptedRunner]:
    num_blocks = 1 + peak_blocks(CONTEXT, budget, block_size, window) + extra_blocks
    kv = KVCacheManager(num_blocks, block_size, sliding_window=window)
    runner = ScriptedRunner(block_size, window, layers=layers)
    scheduler = Scheduler(kv, max_num_seqs=max_num_seqs, max_num_batched_tokens=budget, context_length=CONTEXT)
    engine = LLMEngine(scheduler, runner, speculation=speculation)
    engine._loop = Interleave(scheduler, runner, runner.clock, speculation)
    return engine, runner


@pytest.mark.parametrize("guessing", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_random_add_abort_step_keeps_every_block_and_answers_right(
    seed: int, guessing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_all_guesses(monkeypatch)
    rng = random.Random(seed)
    engine, _ = make_engine(
        block_size=rng.choice([1, 4, 16]),
        window=rng.choice([None, 5, 16]),
        extra_blocks=rng.randrange(20),
        budget=rng.choice([4, 8, 64]),
        layers=rng.choice([1, 2, 7]),
        speculation=Speculation(Oracle(rng)) if guessing else None,
    )
    prompts: dict[str, tuple[list[int], int]] = {}
    aborted: set[str] = set()
    answers: dict[str, list[int]] = {}
    shared = [rng.randrange(VOCAB) for _ in range(40)]
    for _ in range(150):
        if rng.random() < 0.3:
            prefix = shared[: rng.randrange(40)]
            prompt = [*prefix, *(rng.randrange(VOCAB) for _ in range(rng.randrange(1, 20)))]
            request_id, max_tokens = str(len(prompts)), rng.randrange(1, 30)
            prompts[request_id] = (prompt, max_tokens)
            engine.add(request_id, prompt, SamplingParams(max_tokens=max_tokens))
        if rng.random() < 0.05 and prompts:
            victim = rng.choice(list(prompts))
            engine.abort(victim)
            aborted.add(victim)
        if engine.has_work:
            collect(engine.step(), answers)
        engine.scheduler.check_integrity()
    while engine.has_work:
        collect(engine.step(), answers)
        engine.scheduler.check_integrity()
    pool = engine.scheduler.kv._pool
    assert pool.num_free == pool.num_blocks - 1
    for request_id, (prompt, max_tokens) in prompts.items():
        if request_id not in aborted:
            assert answers[request_id] == expected_answer(prompt, max_tokens)


def test_the_stats_are_what_the_schedule_is() -> None:
    engine, _ = make_engine(extra_blocks=15, budget=8, max_num_seqs=2)
    assert engine.stats == EngineStats(num_blocks=31, block_size=4)
    for name, first in (("a", 0), ("b", 20), ("c", 0)):
        engine.add(name, range(first, first + 12), SamplingParams(max_tokens=2))
    assert engine.stats.num_waiting == 3
    for request in engine.scheduler._waiting:
        request.arrived = 0.0  # all at once
    engine.step()
    stats, pool = engine.stats, engine.scheduler.kv._pool
    assert (stats.num_running, stats.num_waiting) == (2, 1)
    held = {block for request in engine.scheduler._running for block in request.block_table}
    assert stats.kv_usage == pytest.approx(len(held) / (pool.num_blocks - 1))
    outputs = []
    while engine.has_work:
        outputs += engine.step()
    stats = engine.stats
    assert (stats.num_running, stats.num_waiting, stats.kv_usage) == (0, 0, 0)
    # The third one found the full blocks of the first, but for the one with its last token.
    assert (stats.prefix_queries, stats.prefix_hits) == (36, 8)
    waited = {output.request_id: output.queue_seconds for output in outputs}
    assert 0 < waited["a"] < waited["c"]


def answers_of(engine: LLMEngine) -> dict[str, list[int]]:
    answers: dict[str, list[int]] = {}
    while engine.has_work:
        collect(engine.step(), answers)
    return answers


@pytest.mark.parametrize("params", [SamplingParams(max_tokens=3), SamplingParams(max_tokens=3, prompt_logprobs=0)])
def test_a_prompt_of_several_is_computed_once_and_others_go_on_meanwhile(params: SamplingParams) -> None:
    engine, runner = make_engine(extra_blocks=60, budget=8)
    prompts = {"first": range(30), "second": range(30), "longer": range(33), "other": range(50, 56)}
    engine.add("first", prompts["first"], params)
    for name in ("second", "longer", "other"):
        engine.add(name, prompts[name], SamplingParams(max_tokens=3))
    answers = answers_of(engine)
    assert [*runner.steps[0]] == ["other", "first"]
    assert answers == {name: expected_answer([*prompt], 3) for name, prompt in prompts.items()}
    assert engine.scheduler.num_computed_tokens == 30 + 2 + 5 + 6 + 4 * 2  # but for 28 tokens in full blocks


def test_who_waits_for_a_prompt_that_is_aborted_computes_it() -> None:
    engine, _ = make_engine(extra_blocks=60, budget=8)
    for name in ("first", "second", "third"):
        engine.add(name, range(30), SamplingParams(max_tokens=3))
    engine.step()
    engine.abort("first")
    assert answers_of(engine) == dict.fromkeys(("second", "third"), expected_answer([*range(30)], 3))
    assert engine.scheduler.num_computed_tokens == 30 + 2 + 2 * 2


def test_a_prompt_of_one_token_that_is_preempted_in_its_first_step_takes_no_block() -> None:
    """Like a running answer it lacks one token, so that it may be taken for one."""
    runner = ScriptedRunner(4, None)
    kv = KVCacheManager(6, 4)  # one of them is the null block
    engine = LLMEngine(Scheduler(kv, max_num_seqs=4, max_num_batched_tokens=64, context_length=20), runner)
    prompts = {"old": [1, 2, 3], "second": [4, 5, 6], "third": [*range(7, 13)], "one token": [13]}
    answers: dict[str, list[int]] = {}
    for request_id, prompt in prompts.items():
        if request_id == "one token":  # beside two that need a block each where one is free
            collect([*engine.step(), *engine.step()], answers)
        engine.add(request_id, prompt, SamplingParams(max_tokens=7))
    while engine.has_work:
        collect(engine.step(), answers)
        engine.scheduler.check_integrity()
    assert engine.scheduler.num_preemptions > 1
    assert answers == {request_id: expected_answer(prompt, 7) for request_id, prompt in prompts.items()}


def test_tight_pools_do_preempt() -> None:
    engine, _ = make_engine(extra_blocks=2)
    for i in range(4):
        engine.add(str(i), [i] * 10, SamplingParams(max_tokens=40))
    while engine.has_work:
        engine.step()
    assert engine.stats.num_preemptions == engine.scheduler.num_preemptions > 0


def test_the_step_budget_holds_and_decodes_never_wait_for_a_prompt() -> None:
    engine, runner = make_engine(extra_blocks=60, budget=8)
    engine.add("chat", [1, 2], SamplingParams(max_tokens=30))
    engine.step()
    engine.add("long", list(range(60)), SamplingParams(max_tokens=2))
    for _ in range(8):
        engine.step()
    assert runner.steps[1:] == [{"long": 7}, {"chat": 1}] * 8


def test_a_short_prompt_beside_a_long_one_starts_at_once() -> None:
    engine, runner = make_engine(extra_blocks=60, budget=8)
    engine.add("long", list(range(60)), SamplingParams(max_tokens=1))
    engine.step()
    engine.add("short", [1, 2, 3], SamplingParams(max_tokens=1))
    outputs = engine.step()
    assert [output.request_id for output in outputs] == ["short"]
    assert runner.steps[1] == {"short": 3, "long": 5}


@pytest.mark.parametrize("length", [4, 8, 16])
def test_a_prompt_of_exactly_k_blocks_leaves_one_token_to_compute_when_it_is_cached(length: int) -> None:
    engine, runner = make_engine(extra_blocks=60, budget=64)
    prompt = list(range(length))
    for name in ("cold", "warm"):
        engine.add(name, prompt, SamplingParams(max_tokens=1))
        outputs = engine.step()
    assert runner.steps == [{"cold": length}, {"warm": 4}]
    assert outputs[0].num_cached_tokens == length - 4


def test_an_output_says_where_its_prompt_departs_from_those_before() -> None:
    engine, _ = make_engine(extra_blocks=60, budget=64)
    prompt = list(range(20))
    answer = expected_answer(prompt, 5)

    def diverged_at(token_ids: list[int]) -> int | None:
        engine.add(str(token_ids), token_ids, SamplingParams(max_tokens=5))
        outputs = [output for _ in range(9) if engine.has_work for output in engine.step()]
        return outputs[-1].diverged_at

    assert diverged_at(prompt) == 0
    assert diverged_at(prompt[:3]) is None
    assert diverged_at([*prompt[:13], 99, *prompt[14:]]) == 13
    assert diverged_at([*prompt, *answer, 1, 2]) == 25
    assert diverged_at([*prompt, *answer[:2], 99]) == 22


def test_a_fully_cached_conversation_is_resumed_from_its_last_full_block() -> None:
    engine, runner = make_engine(extra_blocks=60, budget=64)
    engine.add("first", list(range(10)), SamplingParams(max_tokens=7))
    answers: dict[str, list[int]] = {}
    while engine.has_work:
        collect(engine.step(), answers)
    engine.add("second", [*range(10), *answers["first"], 5], SamplingParams(max_tokens=1))
    engine.step()
    assert runner.steps[-1] == {"second": 2}  # 18 tokens, 16 of them in full blocks


def test_pages_left_of_the_window_are_given_back() -> None:
    engine, _ = make_engine(block_size=4, window=8, budget=4)
    engine.add("r", list(range(30)), SamplingParams(max_tokens=30))
    held: list[int] = []
    while engine.has_work:
        engine.step()
        held += [sum(block != 0 for block in r.block_table) for r in engine.scheduler._running]
    assert max(held) <= peak_blocks(CONTEXT, 4, 4, 8) == 4


def test_a_prefix_of_a_windowed_request_is_found_though_its_first_pages_are_gone() -> None:
    engine, runner = make_engine(block_size=4, window=8, budget=64, extra_blocks=0)
    prompt = list(range(40))
    engine.add("cold", prompt, SamplingParams(max_tokens=1))
    engine.step()
    pool, cache = engine.scheduler.kv._pool, engine.scheduler.kv._prefix_cache
    first_block = cache._block_by_key[next(iter(cache._block_by_key))]
    cache.forget(first_block)  # as if it had been handed out again
    assert pool.is_free(first_block)
    engine.add("warm", prompt, SamplingParams(max_tokens=1))
    engine.step()
    assert runner.steps[-1] == {"warm": 4}


def test_context_and_length_limits() -> None:
    engine, _ = make_engine()
    with pytest.raises(ContextLengthError, match=r"maximum context length is 64 tokens.*resulted in 64 tokens"):
        engine.add("r", [1] * 64, SamplingParams())
    with pytest.raises(RequestError, match="empty"):
        engine.add("r", [], SamplingParams())
    with pytest.raises(RequestError, match="token 100"):
        engine.add("r", [100], SamplingParams())
    engine.add("r", [1] * 60, SamplingParams(max_tokens=None))
    outputs = [output for _ in range(20) if engine.has_work for output in engine.step()]
    assert len(outputs) == 4
    assert outputs[-1].finish_reason == "length"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_p", 0.0),
        ("top_k", -1),
        ("min_p", 1.5),
        ("max_tokens", -1),
        ("repetition_penalty", 0.0),
        ("presence_penalty", 3.0),
        ("logprobs", 21),
        ("logit_bias", {100: 1.0}),
        ("logit_bias", {5: 101.0}),
    ],
)
def test_values_out_of_range_name_their_field(field: str, value: object) -> None:
    engine, _ = make_engine()
    with pytest.raises(RequestError) as caught:
        engine.add("r", [1], SamplingParams(**{field: value}))  # type: ignore[arg-type]
    assert caught.value.param == field
    assert not engine.has_work
