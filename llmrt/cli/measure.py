"""Timing an engine: prefill, decode, and the time to the first token. Free of torch."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from llmrt.cli.progress import Bar
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams

DEFAULT_REPEAT = 3
LONG_RUN_SECONDS = 30.0
_WARM_UP_TOKENS = 16
_REQUEST_ID = "bench"


@dataclass(frozen=True)
class Workload:
    """``num_prompt_tokens`` random tokens in, ``num_output_tokens`` out. Random tokens cost what a text's cost."""

    num_prompt_tokens: int
    num_output_tokens: int

    @property
    def num_tokens(self) -> int:
        """The context that it fills."""
        return self.num_prompt_tokens + self.num_output_tokens


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a workload, in seconds and tokens a second.

    The first token comes out of the prefill; ``decode_rate`` counts those after it, None if it is the only one.
    """

    time_to_first_token: float
    prefill_rate: float
    decode_rate: float | None
    seconds: float


def measure(engine: LLMEngine, workload: Workload, *, chunk: int, repeat: int | None, bar: Bar) -> list[Run]:
    """Run ``workload`` again and again on an engine without prefix caching, after a short run that does not count.

    ``repeat`` None is ``DEFAULT_REPEAT`` runs, or one that takes longer than ``LONG_RUN_SECONDS``. ``chunk`` is the
    most tokens that the engine takes in one step; ``bar`` shows the tokens of each run as they are done.
    """
    draw = random.Random(0)
    warm_up = Workload(min(workload.num_prompt_tokens, _WARM_UP_TOKENS), min(workload.num_output_tokens, 2))
    _run(engine, warm_up, draw, chunk, bar)
    runs = [_run(engine, workload, draw, chunk, bar)]
    if repeat is None:
        repeat = 1 if runs[0].seconds > LONG_RUN_SECONDS else DEFAULT_REPEAT
    runs += [_run(engine, workload, draw, chunk, bar) for _ in range(repeat - 1)]
    return runs


def median(runs: Sequence[Run]) -> Run:
    """Each figure's own median."""
    decode_rates = [run.decode_rate for run in runs if run.decode_rate is not None]
    return Run(
        time_to_first_token=statistics.median(run.time_to_first_token for run in runs),
        prefill_rate=statistics.median(run.prefill_rate for run in runs),
        decode_rate=statistics.median(decode_rates) if decode_rates else None,
        seconds=statistics.median(run.seconds for run in runs),
    )


def _run(engine: LLMEngine, workload: Workload, draw: random.Random, chunk: int, bar: Bar) -> Run:
    token_ids = draw.choices(range(engine.vocab_size), k=workload.num_prompt_tokens)
    params = SamplingParams(temperature=0, max_tokens=workload.num_output_tokens)
    bar.begin(workload.num_tokens - 1)  # nothing is computed of the last token
    prompt_left = workload.num_prompt_tokens
    times: list[float] = []
    start = time.perf_counter()
    engine.add(_REQUEST_ID, token_ids, params)
    while engine.has_work:
        outputs = engine.step()
        times += [time.perf_counter()] * sum(len(output.token_ids) for output in outputs)
        bar.advance(min(chunk, prompt_left) or 1)
        prompt_left -= min(chunk, prompt_left)
    return _timed(workload, first=times[0] - start, last=times[-1] - start, num_tokens=len(times))


def _timed(workload: Workload, *, first: float, last: float, num_tokens: int) -> Run:
    return Run(
        time_to_first_token=first,
        prefill_rate=workload.num_prompt_tokens / first,
        decode_rate=(num_tokens - 1) / (last - first) if last > first else None,
        seconds=last,
    )
