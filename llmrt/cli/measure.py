"""Timing an engine: prefill, decode, and the time to the first token. Free of torch."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams
from llmrt.errors import ConfigError
from llmrt_kernels.cpu.library import load

if TYPE_CHECKING:
    from llmrt.cli.progress import Bar

DEFAULT_REPEAT = 3
LONG_RUN_SECONDS = 30.0
_WARM_UP_TOKENS = 16


@dataclass(frozen=True)
class Workload:
    """``batch`` requests, each of ``num_prompt_tokens`` random tokens in and ``num_output_tokens`` out.

    Random tokens cost what a text's cost. Before the prompt lie ``depth`` tokens that are not computed: their keys and
    values are random too.
    """

    num_prompt_tokens: int
    num_output_tokens: int
    depth: int = 0
    batch: int = 1

    @property
    def num_tokens(self) -> int:
        """The context that one request fills."""
        return self.depth + self.num_prompt_tokens + self.num_output_tokens


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a workload, in seconds and tokens a second over all requests.

    Prefill ends when every request has its first token; ``decode_rate`` counts those after that, None if none is left.
    ``decode_host_share`` is the part of decode's time that is not spent in native kernels, None where they do not run.
    """

    time_to_first_token: float
    prefill_rate: float
    decode_rate: float | None
    decode_host_share: float | None
    seconds: float


def measure(engine: LLMEngine, workload: Workload, *, repeat: int | None, bar: Bar) -> list[Run]:
    """Run ``workload`` again and again on an engine without prefix caching, after a short run that does not count.

    ``repeat`` None is ``DEFAULT_REPEAT`` runs, or one that takes longer than ``LONG_RUN_SECONDS``. ``bar``
    shows the tokens of each run as they are computed.
    """
    draw = random.Random(0)
    warm_up = replace(
        workload,
        num_prompt_tokens=min(workload.num_prompt_tokens, _WARM_UP_TOKENS),
        num_output_tokens=min(workload.num_output_tokens, 2),
    )
    run_once(engine, warm_up, draw, bar)
    runs = [run_once(engine, workload, draw, bar)]
    if repeat is None:
        repeat = 1 if runs[0].seconds > LONG_RUN_SECONDS else DEFAULT_REPEAT
    runs += [run_once(engine, workload, draw, bar) for _ in range(repeat - 1)]
    return runs


def median(runs: Sequence[Run]) -> Run:
    """Each figure's own median."""
    return Run(
        time_to_first_token=statistics.median(run.time_to_first_token for run in runs),
        prefill_rate=statistics.median(run.prefill_rate for run in runs),
        decode_rate=_median_of_known([run.decode_rate for run in runs]),
        decode_host_share=_median_of_known([run.decode_host_share for run in runs]),
        seconds=statistics.median(run.seconds for run in runs),
    )


def _median_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def run_once(engine: LLMEngine, workload: Workload, draw: random.Random, bar: Bar) -> Run:
    """Run ``workload`` on an idle engine. Raises ``ConfigError`` if its requests do not fit side by side."""
    _add_requests(engine, workload, draw)
    # Nothing is computed of the last tokens.
    bar.begin(workload.batch * (workload.num_prompt_tokens + workload.num_output_tokens - 1))
    computed = engine.scheduler.num_computed_tokens
    started: set[str] = set()
    first, tokens_after, native = 0.0, 0, 0.0
    start = time.perf_counter()
    while engine.has_work:
        outputs = engine.step()
        if len(started) < workload.batch:
            started.update(output.request_id for output in outputs)
            first, native = time.perf_counter() - start, _native_seconds()
        else:
            tokens_after += sum(len(output.token_ids) for output in outputs)
        bar.advance(engine.scheduler.num_computed_tokens - computed)
        computed = engine.scheduler.num_computed_tokens
    last, native = time.perf_counter() - start, _native_seconds() - native
    return Run(
        time_to_first_token=first,
        prefill_rate=workload.batch * workload.num_prompt_tokens / first,
        decode_rate=tokens_after / (last - first) if tokens_after else None,
        decode_host_share=1 - native / (last - first) if tokens_after and native else None,
        seconds=last,
    )


def _native_seconds() -> float:
    library = load()
    return 0.0 if library is None else library.seconds


def _add_requests(engine: LLMEngine, workload: Workload, draw: random.Random) -> None:
    params = SamplingParams(temperature=0, max_tokens=workload.num_output_tokens)
    for i in range(workload.batch):
        token_ids = draw.choices(range(engine.vocab_size), k=workload.depth + workload.num_prompt_tokens)
        engine.add(f"bench-{i}", token_ids, params)
    if workload.depth:
        engine.fill(workload.depth)
        if engine.scheduler.num_waiting:
            raise ConfigError(
                f"--batch is {workload.batch}; so many requests of {workload.num_tokens} tokens do not fit in memory."
            )
