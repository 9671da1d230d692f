"""Launches that begin while the one before them ends: programmatic dependent launch, on NVIDIA from sm_90 on.

    the kernel before     ... products | stores | ends
    this kernel                begin | reads weights | wait ..... | reads what was stored, computes, stores

A kernel that takes OVERLAP lets the next one begin at once. All of its programs ``wait`` before they read what a
kernel wrote, and before they write: so whoever is behind it is behind all before it, too. Off until it is measured.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from llmrt_kernels.triton.target import Target

_in_use = {"overlap": False}


def use(*, wanted: bool) -> None:
    """Have launches overlap from now on, or not, where the device can. Graphs that were recorded stay as they are."""
    _in_use["overlap"] = wanted


def overlap(target: Target) -> dict[str, bool]:
    """The options of a launch there."""
    return {"OVERLAP": True, "launch_pdl": True} if _in_use["overlap"] and target.overlaps else {"OVERLAP": False}


@triton.jit
def begin(OVERLAP: tl.constexpr):
    """Let the next kernel begin when all programs of this one have."""
    if OVERLAP:
        gdc_launch_dependents()


@triton.jit
def wait(OVERLAP: tl.constexpr):
    """Until the kernels before this one have ended."""
    if OVERLAP:
        gdc_wait()
