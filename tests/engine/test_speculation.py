"""Guesses: where they come from, how many of them are verified, and that this cannot lose. No torch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from llmrt.engine.interleave import Interleave
from llmrt.engine.kv.manager import KVCacheManager, peak_blocks
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import Request, SamplingParams
from llmrt.engine.run_ahead import RunAhead
from llmrt.engine.scheduler import Scheduler, SchedulerOutput
from llmrt.engine.speculation.acceptance import Acceptance
from llmrt.engine.speculation.draft_lengths import draft_lengths
from llmrt.engine.speculation.draft_model import DraftModel
from llmrt.engine.speculation.ngram import GRAM, PromptLookup
from llmrt.engine.speculation.speculation import Speculation
from tests.engine.test_run_ahead import random_params, run
from tests.scripted import (
    CONTEXT,
    VOCAB,
    LateScriptedRunner,
    Oracle,
    ScriptedFlight,
    ScriptedRunner,
    collect,
    expected_answer,
)


def guess(token_ids: list[int], most: int = 8) -> list[int]:
    return PromptLookup().propose([Request("r", token_ids, SamplingParams())], [most])[0]


def test_what_followed_the_same_tokens_is_proposed() -> None:
    text = [9, 1, 2, 3, 4, 5, 6, 7]
    assert guess([*text, 8, 1, 2, 3], most=3) == [4, 5, 6]
    assert guess([*text, 8, 2, 3]) == []  # two tokens are too few
    assert guess([1, 2]) == []


def test_of_several_places_the_one_that_agrees_longest_is_taken_then_the_latest() -> None:
    first, second = [5, 1, 2, 3, 10], [6, 1, 2, 3, 20]
    assert guess([*first, *second, 5, 1, 2, 3], most=1) == [10]
    assert guess([*first, *second, 7, 1, 2, 3], most=1) == [20]


def test_a_repetition_is_proposed_to_go_on() -> None:
    assert guess([1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4], most=9) == [1, 2, 3, 4, 1, 2, 3, 4, 1]
    assert guess([7, 5, 5, 5, 5], most=4) == [5, 5, 5, 5]


@pytest.mark.parametrize("seed", range(30))
def test_proposals_of_a_growing_request_are_those_of_a_search_through_all_of_it(seed: int) -> None:
    rng = random.Random(seed)
    token_ids = [rng.randrange(3) for _ in range(40)]
    request, lookup = Request("r", token_ids, SamplingParams()), PromptLookup()
    for _ in range(30):
        assert lookup.propose([request], [1])[0] == [token_ids[place] for place in searched(token_ids)]
        token_ids += [rng.randrange(3) for _ in range(rng.randrange(1, 4))]


def searched(token_ids: list[int]) -> list[int]:
    """Of the last eight places behind the last tokens, the one with most of the same (32 at most) before it."""
    end = len(token_ids)
    places = [p for p in range(end - 1, GRAM - 1, -1) if token_ids[p - GRAM : p] == token_ids[end - GRAM :]][:8]

    def agreeing(place: int) -> int:
        same = (n for n in range(min(place, 32), 0, -1) if token_ids[place - n : place] == token_ids[end - n :])
        return next(same)

    return [max(places, key=agreeing)] if places else []


@pytest.mark.parametrize("right", [0.05, 0.3, 0.7, 0.95])
def test_the_acceptance_is_near_the_share_of_right_guesses(right: float) -> None:
    rng, acceptance, seen = random.Random(0), Acceptance(), list[float]()
    for _ in range(2000):
        acceptance.observe([1] * 5, [1 if rng.random() < right else 0 for _ in range(5)])
        seen.append(acceptance.chance)
    assert sum(seen) / len(seen) == pytest.approx(right, abs=0.05)


def test_the_acceptance_follows_a_request_that_changes() -> None:
    acceptance = Acceptance()
    for _ in range(50):
        acceptance.observe([1, 2, 3], [1, 2, 3])
    assert acceptance.chance > 0.9
    for _ in range(50):
        acceptance.observe([1, 2, 3], [9])
    assert acceptance.chance < 0.2


def test_tokens_behind_the_first_wrong_one_say_nothing() -> None:
    one, many = Acceptance(), Acceptance()
    one.observe([1], [2])
    many.observe([1, 3, 4, 5], [2, 3, 4, 5])
    assert one.chance == many.chance


def test_as_many_guesses_are_verified_as_give_most_tokens_a_second() -> None:
    seconds = {1: 1.0, 2: 1.1, 4: 1.2, 8: 1.8, 12: 4.0, 16: 6.0}.get
    likely, unlikely = [0.9**n for n in range(1, 16)], [0.05**n for n in range(1, 16)]
    assert draft_lengths([likely], seconds) == [7]  # 5.7 tokens in 1.8
    assert draft_lengths([unlikely], seconds) == [0]
    assert draft_lengths([[1.0]], seconds) == [1]
    assert draft_lengths([[]], seconds) == [0]


def test_nothing_is_verified_before_it_is_known_what_a_step_without_guesses_takes() -> None:
    assert draft_lengths([[1.0] * 15], lambda rows: None if rows == 1 else 0.1) == [0]


def test_rows_go_to_those_whose_guesses_are_likeliest_and_nobody_pays_much_for_them() -> None:
    sure, unsure, chances = [0.95**n for n in range(1, 16)], [0.3**n for n in range(1, 16)], list[float]()
    lengths = draft_lengths([sure, unsure, chances], lambda rows: 1 + rows / 1000)
    assert lengths[0] > lengths[1] >= lengths[2] == 0
    # Twelve rows give most tokens, but the request without guesses would wait twice as long for each of its own.
    assert draft_lengths([sure, sure, chances], lambda rows: 1.0 if rows <= 4 else 2.0) != [0, 0, 0]
    assert sum(draft_lengths([sure, sure, chances], lambda rows: 1.0 if rows <= 4 else 2.0)) == 1


class Machine(NamedTuple):
    """What ``rows`` take, in seconds."""

    step: float
    row: float


# From weights that take all the time, over a processor that is as slow as four rows, to one that gains nothing by rows.
MACHINES = [Machine(1.0, 0.0), Machine(0.9, 0.1), Machine(0.5, 0.5), Machine(0.0, 1.0)]


def pace(machine: Machine, proposer: Oracle | None, *, requests: int = 1, max_tokens: int = 400) -> float:
    """Tokens a second."""
    runner = ScriptedRunner(16, None, decode_seconds=machine.step, row_seconds=machine.row, layer_seconds=0.0)
    scheduler = Scheduler(KVCacheManager(400, 16), max_num_seqs=8, max_num_batched_tokens=64, context_length=2048)
    speculation = None if proposer is None else Speculation(proposer)
    steps = Interleave(scheduler, runner, runner.clock, speculation)
    answers, wanted = dict[str, list[int]](), dict[str, list[int]]()
    for i in range(requests):
        scheduler.add(Request(str(i), [i, 1], SamplingParams(max_tokens=max_tokens)))
        wanted[str(i)] = expected_answer([i, 1], max_tokens, context=2048)
    while scheduler.num_running + scheduler.num_waiting:
        collect(steps.step(), answers)
    assert answers == wanted
    return max_tokens * requests / runner.now


@pytest.mark.parametrize("requests", [1, 5])
@pytest.mark.parametrize("right", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("machine", MACHINES)
def test_guesses_that_are_mostly_wrong_cost_next_to_nothing(machine: Machine, right: float, requests: int) -> None:
    plain = pace(machine, None, requests=requests, max_tokens=200)
    assert pace(machine, Oracle(random.Random(0), right), requests=requests, max_tokens=200) >= 0.97 * plain


@pytest.mark.parametrize(("machine", "factor"), [(MACHINES[0], 9), (MACHINES[1], 4)])
def test_guesses_that_are_right_are_worth_what_the_rows_cost(machine: Machine, factor: float) -> None:
    assert pace(machine, Oracle(random.Random(0), 0.98)) >= factor * pace(machine, None)


class Fickle(Oracle):
    """Is right in every other stretch of 100 tokens."""

    def guess(self, request: Request, most: int) -> list[int]:
        self.right = 0.98 if len(request.token_ids) // 100 % 2 else 0.0
        return super().guess(request, most)


def test_what_did_not_pay_is_tried_again_when_it_would() -> None:
    """Half of the tokens at nine times the pace, the others at one: 1.8 times as fast."""
    assert pace(MACHINES[0], Fickle(random.Random(0))) >= 1.6 * pace(MACHINES[0], None)
    assert pace(MACHINES[1], Fickle(random.Random(0))) >= 1.4 * pace(MACHINES[1], None)


def late_pace(machine: Machine, proposer: Oracle | None, host_seconds: float) -> float:
    """Tokens a second where steps run ahead, one request without an end that is counted."""
    runner = LateScriptedRunner(16, None, decode_seconds=machine.step, row_seconds=machine.row)
    runner.host_seconds = host_seconds
    if isinstance(proposer, Costly):
        proposer.runner, proposer.made = runner, []
    scheduler = Scheduler(KVCacheManager(400, 16), max_num_seqs=8, max_num_batched_tokens=64, context_length=2048)
    steps = RunAhead(scheduler, runner, runner.clock, None if proposer is None else Speculation(proposer))
    answers = dict[str, list[int]]()
    scheduler.add(Request("r", [1, 2], SamplingParams(max_tokens=400)))
    while scheduler.num_running + scheduler.num_waiting:
        collect(steps.step(), answers)
        scheduler.check_integrity()
    assert answers == {"r": expected_answer([1, 2], 400, context=2048)}
    return 400 / runner.now


@pytest.mark.parametrize("host", [0.0, 0.5])
@pytest.mark.parametrize("machine", MACHINES[:2])
def test_steps_run_ahead_where_guesses_would_not_pay_and_wait_where_they_do(machine: Machine, host: float) -> None:
    plain = late_pace(machine, None, host)
    assert plain == pytest.approx(1 / (machine.step + machine.row), rel=0.01)  # the host's time is not seen
    for right in (0.0, 0.1):
        assert late_pace(machine, Oracle(random.Random(0), right), host) >= 0.97 * plain
    assert late_pace(machine, Oracle(random.Random(0), 0.98), host) >= 3 * plain


class Costly(Oracle):
    """Takes a tenth of a step for each guess, and so is asked for none that are not verified, nor beside prompts."""

    seconds_per_token = 0.1
    runner: LateScriptedRunner
    made: list[int]

    def propose(self, requests: Sequence[Request], counts: Sequence[int]) -> list[list[int]]:
        if any(counts):
            assert self.runner.now >= self.runner.device_now
            self.made.append(sum(counts))
            self.runner.now += self.seconds_per_token * sum(counts)
        return super().propose(requests, counts)


@pytest.mark.parametrize("right", [0.0, 0.98])
def test_guesses_that_cost_something_are_made_where_they_are_verified(right: float) -> None:
    proposer = Costly(random.Random(0), right)
    plain, fast = late_pace(MACHINES[0], None, 0.5), late_pace(MACHINES[0], proposer, 0.5)
    assert fast >= (3 if right else 0.97) * plain
    verified = [step["r"] - 1 for step in proposer.runner.steps if step["r"] > 1]
    assert proposer.made == verified[1:]  # the prompt is the first


class SlowAtFirst(LateScriptedRunner):
    """Records its first step of each number of rows, which takes a thousand times as long."""

    recorded: set[int]

    def launch(self, scheduled: SchedulerOutput) -> ScriptedFlight:
        self.now += 0 if len(scheduled) in self.recorded else 1000 * self.decode_seconds
        self.recorded.add(len(scheduled))
        return super().launch(scheduled)


def test_what_a_guess_takes_is_not_what_recording_its_first_step_took(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = SlowAtFirst(16, None, decode_seconds=0.25)
    runner.recorded = set()
    monkeypatch.setattr("llmrt.engine.speculation.continuation.perf_counter", runner.clock)
    draft = DraftModel(runner, KVCacheManager(400, 16), chunk=64, context_length=64)
    request = Request("r", [1, 2, 3], SamplingParams())
    for _ in range(5):
        (guesses,) = draft.propose([request], [1])
        assert guesses == expected_answer(request.token_ids, 1)
        assert draft.seconds_per_token <= 0.25
        request.token_ids += guesses
    assert draft.seconds_per_token == 0.25


@pytest.mark.parametrize("seed", range(20))
def test_steps_that_run_ahead_and_verify_answer_right(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts that come in between, ends, aborts and requests whose tokens the host chooses among them."""
    rng = random.Random(seed)
    monkeypatch.setattr(
        "llmrt.engine.speculation.speculation.draft_lengths",
        lambda chances, seconds: [rng.randrange(len(own) + 1) * rng.randrange(2) for own in chances],
    )
    block_size, window = rng.choice([1, 4, 16]), rng.choice([None, 5, 16])
    num_blocks = 1 + peak_blocks(CONTEXT, 64, block_size, window) + rng.randrange(12)
    kv = KVCacheManager(num_blocks, block_size, sliding_window=window)
    scheduler = Scheduler(kv, max_num_seqs=4, max_num_batched_tokens=64, context_length=CONTEXT)
    speculation = Speculation(Oracle(rng))
    engine = LLMEngine(scheduler, LateScriptedRunner(block_size, window), speculation=speculation)
    requests = {str(i): (rng.choices(range(VOCAB), k=rng.randrange(1, 20)), random_params(rng)) for i in range(25)}
    run(engine, rng, requests, several_at_once=True)
    assert speculation.num_accepted_tokens > 0


def test_drafts_are_counted() -> None:
    """Of the tokens of an answer one a step is the model's own, and the others were accepted."""
    runner = ScriptedRunner(16, None)
    scheduler = Scheduler(KVCacheManager(400, 16), max_num_seqs=8, max_num_batched_tokens=64, context_length=2048)
    speculation = Speculation(Oracle(random.Random(0), 0.9))
    steps = Interleave(scheduler, runner, runner.clock, speculation)
    scheduler.add(Request("r", [1, 2], SamplingParams(max_tokens=200)))
    num_steps = 0
    while scheduler.num_running + scheduler.num_waiting:
        num_steps += len(steps.step())
    drafted = [step["r"] - 1 for step in runner.steps[1:] if step["r"] > 1]
    assert speculation.num_drafts == len(drafted) > 0
    assert speculation.num_draft_tokens == sum(drafted)
    assert speculation.num_accepted_tokens == 200 - num_steps
