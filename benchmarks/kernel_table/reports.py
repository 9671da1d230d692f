"""What every variant needs on every target, found out by two processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

from benchmarks.kernel_table.build import build
from benchmarks.kernel_table.inner_loop import instructions_per_weight
from benchmarks.kernel_table.resources import Resources, resources_of
from llmrt_kernels.triton.target import TARGETS
from llmrt_kernels.triton.variants import shipped_variants

PROCESSES = 2
VARIANTS = {variant.name: variant for variant in shipped_variants()}
BY_NAME = {target.name: target for target in TARGETS}

Pair = tuple[str, str]  # the names of a variant and a target


@dataclass(frozen=True)
class Report:
    """One variant on one target; ``per_weight`` lane instructions in the inner loop, where weights are packed."""

    resources: Resources
    per_weight: float | None


def shipped() -> list[Pair]:
    """All variants on all targets."""
    return list(product(VARIANTS, BY_NAME))


def report(variant: str, target: str) -> Report:
    """Compile one, or find what was compiled before."""
    kernel = build(VARIANTS[variant], BY_NAME[target])
    weights = VARIANTS[variant].on(target).weights
    return Report(resources_of(kernel), instructions_per_weight(kernel, weights) if weights else None)


def start(pairs: Iterable[Pair]) -> tuple[ProcessPoolExecutor, dict[Pair, Future[Report]]]:
    """Begin to compile ``pairs``. The pool is the caller's to shut down."""
    pool = ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"))
    return pool, {pair: pool.submit(report, *pair) for pair in pairs}
