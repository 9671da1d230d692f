"""What verifying guesses gains where they come true, and what prompt lookup gains or costs in a text of random weights.

What the model answers first is guessed the next times: such a guess is wrong only where several rows are rounded in
another way than one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from statistics import median

from benchmarks.on_gpu.models import MISTRAL, engine_of, runner_of
from benchmarks.on_gpu.sections import Rows
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import Request, SamplingParams
from llmrt.engine.run_ahead import RunAhead
from llmrt.engine.speculation.ngram import PromptLookup
from llmrt.engine.speculation.speculation import Speculation
from llmrt.model.config import ModelConfig

PROMPT, TOKENS, ROUNDS = 512, 320, 3


class Remembered:
    """Guesses that the ``answer`` comes again."""

    seconds_per_token = 0.0

    def __init__(self, answer: Sequence[int]) -> None:
        self._answer = list(answer)

    def reach(self, request: Request) -> int:
        """See ``Proposer``."""
        return len(self._answer) - request.num_output_tokens

    def propose(self, requests: Sequence[Request], counts: Sequence[int]) -> list[list[int]]:
        """See ``Proposer``."""
        return [
            self._answer[request.num_output_tokens :][:most] for request, most in zip(requests, counts, strict=True)
        ]


def mistral_int4() -> Rows:
    yield from measured(MISTRAL, "int4")


def measured(shape: ModelConfig, quant: str) -> Rows:
    """Tokens a second of a single request without guesses, and over them the ratios with."""
    engine = engine_of(shape, quant)
    token_ids = random.Random(0).choices(range(engine.vocab_size), k=PROMPT)
    answer, _ = answered(engine, token_ids, None)
    right, lookup = Speculation(Remembered(answer)), Speculation(PromptLookup())
    ways = {"plain": None, "guesses_that_come_true": right, "prompt_lookup": lookup}
    rounds = [{name: answered(engine, token_ids, way)[1] for name, way in ways.items()} for _ in range(ROUNDS + 1)]
    ratios = {name: median(each[name] / each["plain"] for each in rounds[1:]) for name in ways if name != "plain"}
    yield "tokens_per_second", round(median(each["plain"] for each in rounds[1:]), 1)
    yield "ratios", {name: round(ratio, 3) for name, ratio in ratios.items()}
    yield "accepted", round(right.num_accepted_tokens / max(1, right.num_draft_tokens), 3)


def answered(engine: LLMEngine, token_ids: list[int], speculation: Speculation | None) -> tuple[list[int], float]:
    """The answer, and how many of its tokens came a second behind the first."""
    steps = RunAhead(engine.scheduler, runner_of(engine), speculation=speculation)
    engine.scheduler.add(Request("r", list(token_ids), SamplingParams(temperature=0, max_tokens=TOKENS)))
    answer, times = list[int](), list[float]()
    while engine.has_work:
        for output in steps.step():
            answer += output.token_ids
            times.append(time.perf_counter())
    return answer, (len(answer) - 1) / (times[-1] - times[0])
