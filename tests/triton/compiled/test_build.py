"""Compiling without a device: what is found again, and what is seen of the result."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import triton
import triton.language as tl

from benchmarks.kernel_table.build import build
from benchmarks.kernel_table.resources import resources_of
from llmrt_kernels.triton.target import TARGETS
from llmrt_kernels.triton.variant import Variant

POINTERS = {"x_ptr": "*fp32", "y_ptr": "*fp32"}
SOURCE = """
import triton
import triton.language as tl

@triton.jit
def scaled(x):
    return x * FACTOR

@triton.jit
def kernel(x_ptr, y_ptr):
    tl.store(y_ptr, scaled(tl.load(x_ptr)))
"""


def kernel_from(path: Path, factor: str) -> Any:
    path.write_text(SOURCE.replace("FACTOR", factor))
    spec = spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernel


def test_a_change_in_what_a_kernel_calls_is_seen(tmp_path: Path) -> None:
    kernels = [kernel_from(tmp_path / f"{i}.py", factor) for i, factor in enumerate(("2.0", "3.0", "2.0"))]
    first, changed, same = (build(Variant("", kernel, POINTERS, {}), TARGETS[0]).hash for kernel in kernels)
    assert first == same != changed


@triton.jit
def normalise(x_ptr, y_ptr, N: tl.constexpr):
    x = tl.load(x_ptr + tl.arange(0, N))
    tl.store(y_ptr + tl.arange(0, N), x / tl.sum(x, 0))


def test_spills_are_seen() -> None:
    """A row of as many values a thread as it has registers, and none to add them in."""
    crowded = Variant("", normalise, POINTERS, {"N": 256 * 32}, num_warps=1)
    assert all(resources_of(build(crowded, target)).spilled > 0 for target in TARGETS if target.warp_size == 32)
