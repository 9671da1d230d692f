"""Prompts beside decode steps: how far apart tokens come, how long a prompt takes, by a scripted clock. No torch."""

from __future__ import annotations

import random

import pytest

from llmrt.engine.interleave import Interleave
from llmrt.engine.kv.manager import KVCacheManager
from llmrt.engine.request import Request, SamplingParams
from llmrt.engine.scheduler import Scheduler
from tests.scripted import ScriptedRunner, collect, expected_answer

CONTEXT = 8192
LAYERS = 6


def make_steps(
    *, layer_seconds: float, decode_seconds: float = 1.0, num_blocks: int = 2048, budget: int = 512
) -> tuple[Scheduler, ScriptedRunner, Interleave]:
    """``layer_seconds`` of a token."""
    runner = ScriptedRunner(16, None, layers=LAYERS, decode_seconds=decode_seconds, layer_seconds=layer_seconds)
    kv = KVCacheManager(num_blocks, 16)
    scheduler = Scheduler(kv, max_num_seqs=16, max_num_batched_tokens=budget, context_length=CONTEXT)
    return scheduler, runner, Interleave(scheduler, runner, runner.clock)


def request(name: str, length: int, max_tokens: int | None = None) -> Request:
    return Request(name, [i % 50 for i in range(length)], SamplingParams(max_tokens=max_tokens))


def start_chats(scheduler: Scheduler, steps: Interleave, count: int = 8) -> None:
    for i in range(count):
        scheduler.add(request(f"chat{i}", 5 + i))
    num_tokens = 0
    while num_tokens < 10 * count:
        num_tokens += len(steps.step())


def gaps_until(name: str, runner: ScriptedRunner, steps: Interleave) -> list[float]:
    """Seconds between the tokens of those who decode, until ``name`` has its first one."""
    gaps: list[float] = []
    last = runner.now
    while True:
        outputs = steps.step()
        if any(output.request_id.startswith("chat") for output in outputs):
            gaps.append(runner.now - last)
            last = runner.now
        if any(output.request_id == name for output in outputs):
            return gaps


# A layer of 512 tokens takes 0.5, 1, 2.5 and 10 decode steps.
@pytest.mark.parametrize("layer", [0.5, 1.0, 2.5, 10.0])
def test_a_long_prompt_delays_no_token_by_more_than_it_may_and_takes_less_than_twice_its_time(layer: float) -> None:
    scheduler, runner, steps = make_steps(layer_seconds=layer / 512)
    start_chats(scheduler, steps)
    start = runner.now
    scheduler.add(request("long", 2048, max_tokens=1))
    gaps = gaps_until("long", runner, steps)
    alone = 2048 * LAYERS * layer / 512
    assert max(gaps) <= 3.2 + 1e-9
    assert runner.now - start <= 2 * alone
    assert len(gaps) >= alone / 3.2


def test_a_layer_that_takes_too_long_gets_fewer_tokens() -> None:
    scheduler, runner, steps = make_steps(layer_seconds=30 / 512)
    start_chats(scheduler, steps)
    scheduler.add(request("long", 2048, max_tokens=1))
    gaps_until("long", runner, steps)
    chunks = [step["long"] for step in runner.steps if "long" in step]
    assert set(chunks[1:-1]) == {64}  # the fewest: 512 of them take 30 decode steps


def test_of_many_who_come_at_once_the_first_to_decode_does_not_hold_up_the_rest() -> None:
    scheduler, runner, steps = make_steps(layer_seconds=1 / 512)
    start_chats(scheduler, steps, count=1)
    start = runner.now
    for i in range(8):
        scheduler.add(request(f"other{i}", 512, max_tokens=1))
    gaps_until("other7", runner, steps)
    alone = 8 * LAYERS
    assert runner.now - start <= 1.25 * alone  # 1.45 times if each were given 2.2 times the time of a decode step


def test_a_prompt_alone_is_computed_in_full_chunks_though_others_decoded_before() -> None:
    scheduler, runner, steps = make_steps(layer_seconds=30 / 512)
    start_chats(scheduler, steps)
    for i in range(8):
        scheduler.abort(f"chat{i}")
    scheduler.add(request("long", 2048, max_tokens=1))
    gaps_until("long", runner, steps)
    assert [step["long"] for step in runner.steps if "long" in step] == [512] * 4


def test_an_abort_in_the_middle_of_a_prompt_frees_its_blocks_at_once_and_the_rest_goes_on() -> None:
    scheduler, runner, steps = make_steps(layer_seconds=2 / 512)
    free = scheduler.kv.num_free_blocks
    start_chats(scheduler, steps, count=1)
    scheduler.add(request("leaves", 300, max_tokens=1))
    scheduler.add(request("stays", 200, max_tokens=1))
    steps.step()
    scheduler.abort("leaves")
    scheduler.check_integrity()
    gaps_until("stays", runner, steps)
    scheduler.abort("chat0")
    assert scheduler.kv.num_free_blocks == free


def test_a_prompt_of_whom_nobody_is_left_is_dropped() -> None:
    scheduler, runner, steps = make_steps(layer_seconds=1 / 512)
    scheduler.add(request("leaves", 512))
    steps.step()
    assert runner.now == 1.0  # one layer: nobody decodes, so it need not go on before the next abort is heard
    scheduler.abort("leaves")
    scheduler.add(request("comes", 16, max_tokens=1))
    while not any(output.request_id == "comes" for output in steps.step()):
        pass
    assert runner.now == pytest.approx(1.0 + LAYERS * 16 / 512)


@pytest.mark.parametrize("seed", range(20))
def test_answers_are_right_whatever_the_pace(seed: int) -> None:
    rng = random.Random(seed)
    scheduler, runner, steps = make_steps(
        layer_seconds=rng.choice([0.001, 0.01, 0.1]), num_blocks=rng.choice([60, 500]), budget=rng.choice([16, 128])
    )
    scheduler.context_length = 64
    wanted: dict[str, list[int]] = {}
    answers: dict[str, list[int]] = {}
    for i in range(40):
        prompt = [rng.randrange(50) for _ in range(rng.randrange(1, 60))]
        wanted[str(i)] = expected_answer(prompt, 20)
        scheduler.add(Request(str(i), prompt, SamplingParams(max_tokens=20)))
        for _ in range(rng.randrange(6)):
            runner.decode_seconds = rng.choice([0.1, 1.0, 5.0])
            collect(steps.step(), answers)
            scheduler.check_integrity()
    while scheduler.num_running + scheduler.num_waiting:
        collect(steps.step(), answers)
        scheduler.check_integrity()
    assert answers == wanted
