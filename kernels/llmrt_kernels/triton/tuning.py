"""Which launch configurations are the fastest on the device at hand: every candidate is measured, see ``tuned``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import torch
from triton.errors import TritonError

from llmrt_kernels.triton import tuned
from llmrt_kernels.triton.tuned import Numbers

Work = Callable[[], object]
MARGIN = 0.97  # of the table's own time, for what would take its place


def candidates(name: str) -> list[Numbers]:
    """What may stand for ``name``, none for a name that nothing is called."""
    kind, _, rest = name.partition("-")
    match kind, rest.split("-"):
        case "attention", ["prefill", *_]:
            return [*product((64, 128), (32, 64, 128), (4, 8), (2, 3, 4))]
        case "attention", ["decode", *_]:
            return [*product((16,), (16, 32, 64, 128), (4, 8), (1, 2, 3, 4))]
        case "product", [tokens, *_] if tokens in ("16", "32", "64"):
            return [*product((int(tokens),), (64, 128), (0, 1), (4, 8), (2, 3, 4))]
        case _:
            return []


def fastest(works: Mapping[str, Work], seconds: Callable[[Work], float]) -> dict[str, Numbers]:
    """For each name the candidate with which its work takes least, if that is less than with the table's own.

    A candidate that the device has no room for is passed over. The tables are in use afterwards.
    """
    return {name: best for name, work in works.items() if (best := _fastest(name, work, seconds)) is not None}


def _fastest(name: str, work: Work, seconds: Callable[[Work], float]) -> Numbers | None:
    tuned.use({})
    least, best = MARGIN * seconds(work), None
    try:
        for candidate in candidates(name):
            tuned.use({name: candidate})
            taken = _seconds(work, seconds)
            if taken < least:
                least, best = taken, candidate
    finally:
        tuned.use({})
    return best


def _seconds(work: Work, seconds: Callable[[Work], float]) -> float:
    """Infinitely many for what cannot be compiled or has no room. Raises for a device that is broken."""
    try:
        return seconds(work)
    except torch.AcceleratorError:
        raise
    except (TritonError, RuntimeError):  # the compiler's passes raise the latter
        return float("inf")
