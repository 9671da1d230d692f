"""The page that docs/kernels.md is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from benchmarks.figures import table
from benchmarks.kernel_table.reports import BY_NAME, VARIANTS, Pair, Report
from benchmarks.kernel_table.resources import KB
from llmrt_kernels.triton.variant import Variant

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"
COUNTED = ("sm_90", "sm_89", "sm_86")  # targets whose instructions are counted

INTRODUCTION = """\
# What the GPU kernels need

`python -m benchmarks.kernel_table` writes this page, and the tests compare it with what the compiler makes of the
kernels now. Each row is a shipped form of a kernel, compiled by Triton for each target without a GPU, with the tiles
that launches have on that target. None keeps values in memory for want of registers, and each fits into the shared
memory of every target.

There are at most 40 rows, and they are not the product of all options. Windows, scales, the values of caps and numbers
of tokens are arguments of a launch and make no forms. The others (tokens of a tile, widths of codes, offsets, types,
head dimensions, caps, slopes, norms, activations) are spread over the rows, the largest form of each option among them;
options whose code is apart share a row, such as codes of 4 and of 8 bits in the two pieces of a weight. A kernel whose
body is a part of another's has no row: RMSNorm beside LayerNorm, rounding alone beside norms that round, an activation
alone beside the products that end in it, of dense experts the second product beside the two of the first, what is
rotated behind a product of floats beside that product and a packed one that is rotated, of sampling's passes the one
that counts again, what an adapter expands for one token beside what it shrinks. A few short ones have none either: a
token's row of a packed table, activations that are expanded, results of a product that are activated and rounded. Those
and the rotated product of floats are compiled for all targets by `tests/triton/compiled/test_without_rows.py`, within
the same limits. On sm_90 and sm_120 kernels that may begin while the one before them ends are compiled so
(`kernels/llmrt_kernels/triton/overlap.py`).

What kernels do to memory is checked where they run without a GPU (`tests/triton/interpreted/checker`): no access lies
outside of the tensors of its launch or reads what nobody wrote, and no two programs race, in any order of them.

## Registers of a thread / KB of shared memory of a block, rounded up

"""

PER_WEIGHT = """
## Instructions for a weight

Instructions of a lane in the inner loop, for each packed weight that the loop unpacks and multiplies, counted in the
machine code.

"""


def page(reports: Mapping[Pair, Report]) -> str:
    """The whole page."""
    targets = list(BY_NAME)
    needs = [
        [name, _warps(variant), *(_need(name, target, reports) for target in targets)]
        for name, variant in VARIANTS.items()
    ]
    text = INTRODUCTION + table(["kernel", "warps", *targets], needs) + "\n"
    counts = [
        [name, *(_count(reports[name, target]) for target in COUNTED)]
        for name, variant in VARIANTS.items()
        if variant.weights
    ]
    return text + PER_WEIGHT + table(["kernel", *COUNTED], counts) + "\n"


def _warps(variant: Variant) -> str:
    return " or ".join(map(str, sorted({variant.on(target).num_warps for target in BY_NAME})))


def _need(name: str, target: str, reports: Mapping[Pair, Report]) -> str:
    resources = reports[name, target].resources
    return f"{resources.registers} / {math.ceil(resources.shared / KB)}"


def _count(report: Report) -> str:
    return "-" if report.per_weight is None else f"{report.per_weight:.2f}"
