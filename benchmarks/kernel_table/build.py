"""Compiling a variant for a target. What was compiled once is found again, until its source changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

CACHE = Path(__file__).parents[2] / "build" / "triton"
os.environ.setdefault("TRITON_CACHE_DIR", str(CACHE))

import triton  # noqa: E402  (it reads the variable)
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource, CompiledKernel  # noqa: E402

from llmrt_kernels.triton.target import Target  # noqa: E402
from llmrt_kernels.triton.variant import Variant  # noqa: E402

ALIGNED = [["tt.divisibility", 16]]  # what a launch finds out about a pointer or a size


def build(variant: Variant, target: Target) -> CompiledKernel:
    """Compile. Raises what Triton raises."""
    variant = variant.on(target.name)
    source = ASTSource(variant.kernel, *_arguments(variant, target))
    device = GPUTarget(target.backend, target.arch, target.warp_size)
    return triton.compile(source, device, {"num_warps": variant.num_warps, "num_stages": variant.num_stages})


def _arguments(variant: Variant, target: Target) -> tuple[dict[str, str], dict[str, Any], dict[tuple[int], Any]]:
    """The types of all arguments, the values of the constant ones, and which of the others are aligned."""
    names = [parameter.name for parameter in variant.kernel.params]
    given = {**variant.signature, **variant.constants}
    assert given.keys() <= {*names}, f"{variant.name} gives {sorted(given)} to a kernel of {names}"
    types = {name: variant.signature.get(name, "constexpr") for name in names}
    absent = dict.fromkeys(name for name in names if name not in given)
    of_target = {"ASM": target.asm, "OVERLAP": target.overlaps}
    constants = absent | dict(variant.constants) | {name: of_target[name] for name in of_target if name in names}
    aligned = {
        (parameter.num,): ALIGNED
        for parameter in variant.kernel.params
        if types[parameter.name].startswith(("*", "i")) and not parameter.do_not_specialize
    }
    return types, constants, aligned
