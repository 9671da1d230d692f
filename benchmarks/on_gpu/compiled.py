"""Kernels compiled before anything is timed, in processes side by side: Triton keeps on disk what it compiled.

One after the other would take minutes of this, on one core. Each process launches what it compiles.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

from benchmarks.on_gpu import models
from benchmarks.on_gpu.engine import SHORT, Bar
from benchmarks.on_gpu.models import CHUNK, MISTRAL, MIXTRAL, STREAMS
from benchmarks.on_gpu.sections import Rows
from llmrt.cli.measure import Workload, run_once
from llmrt.model.config import ModelConfig
from llmrt_kernels.triton import overlap

SHARE = 0.05  # of the device's free memory, for each
KINDS = {
    "7b-int4": (MISTRAL, "int4"),
    "7b-bf16": (MISTRAL, "none"),
    "mixtral-int4": (MIXTRAL, "int4"),
    "7b-int8": (MISTRAL, "int8"),
}
WORKLOADS = {f"decode_{streams}": replace(SHORT, num_output_tokens=4, batch=streams) for streams in STREAMS}
WORKLOADS["prefill"] = Workload(CHUNK, 1)


def of_models() -> Rows:
    """What steps of each model launch, each kind of step by itself, of a layer."""
    tasks = {
        f"{name}-{kind}": partial(step_once, replace(shape, num_layers=1), quant, workload)
        for kind, workload in WORKLOADS.items()
        for name, (shape, quant) in KINDS.items()
    }
    one = WORKLOADS["decode_1"]
    tasks["7b-int4-overlapping"] = partial(step_once, replace(MISTRAL, num_layers=1), "int4", one, overlapping=True)
    yield from side_by_side(tasks)


def of_kernels() -> Rows:
    """What the sections of single kernels launch."""
    from benchmarks.kernels import bench_triton_attention, bench_triton_linear

    yield from side_by_side(bench_triton_linear.launches() | bench_triton_attention.launches())


def step_once(shape: ModelConfig, quant: str, workload: Workload, *, overlapping: bool = False) -> None:
    """Compile what a model launches for a ``workload``."""
    overlap.use(wanted=overlapping)
    run_once(models.engine_of(shape, quant, gpu_memory=SHARE), workload, random.Random(0), Bar())


def side_by_side(tasks: Mapping[str, Callable[[], object]]) -> Rows:
    """The seconds that each took, and in the end whose error it was if one failed."""
    errors: list[str] = []
    with ProcessPoolExecutor(min(len(tasks), os.cpu_count() or 1), get_context("spawn")) as pool:
        names = {pool.submit(_seconds, task): name for name, task in tasks.items()}
        for future in as_completed(names):
            error = future.exception()
            if error is None:
                yield names[future], future.result()
            else:
                errors.append(f"{names[future]}: {type(error).__name__}: {error}")
    if errors:
        raise RuntimeError("\n".join(errors))


def _seconds(task: Callable[[], object]) -> float:
    start = time.monotonic()
    task()
    return round(time.monotonic() - start, 1)
