"""Inline assembly gives what the plain Triton beside it does. In the interpreter ``assembly`` reads each maker's."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder

import llmrt_kernels.triton
from llmrt_kernels.triton.attention_decode import wait_for_stores
from llmrt_kernels.triton.attention_tiles import to_half
from llmrt_kernels.triton.dot4 import dot4
from llmrt_kernels.triton.fp8 import halves_of_fp8
from llmrt_kernels.triton.product_mma import upper_halves
from llmrt_kernels.triton.target import TARGETS, target_of
from tests.triton.interpreted import assembly
from tests.triton.interpreted.conftest import DEVICE

N = 4096
ASMS = sorted({target.asm for target in TARGETS})


@triton.jit
def dot4_kernel(a_ptr, b_ptr, y_ptr, N: tl.constexpr, ASM: tl.constexpr):
    at = tl.arange(0, N)
    a, b = tl.load(a_ptr + at), tl.load(b_ptr + at)
    tl.store(y_ptr + at, dot4(a, b, a ^ b, ASM))


@triton.jit
def upper_halves_kernel(a_ptr, b_ptr, y_ptr, N: tl.constexpr, ASM: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(y_ptr + at, upper_halves(tl.load(a_ptr + at) ^ tl.load(b_ptr + at), ASM))


@triton.jit
def halves_kernel(a_ptr, b_ptr, y_ptr, N: tl.constexpr, ASM: tl.constexpr):
    """Every byte times the halves of ``b_ptr`` that are numbers."""
    at = tl.arange(0, N)
    x, scale = tl.load(a_ptr.to(tl.pointer_type(tl.uint8)) + at), tl.load(b_ptr.to(tl.pointer_type(tl.float16)) + at)
    scale = tl.where(tl.abs(scale) < 65505, scale, 1.0).to(tl.float16)
    fp8 = halves_of_fp8(x, scale, ASM).to(tl.int16, bitcast=True).to(tl.int32)
    int8 = to_half(x.to(tl.int8, bitcast=True), scale, ASM).to(tl.int16, bitcast=True).to(tl.int32)
    wait_for_stores(fp8, ASM)
    tl.store(y_ptr + at, (fp8 << 16) | (int8 & 0xFFFF))


@pytest.fixture(autouse=True)
def with_assembly(monkeypatch: pytest.MonkeyPatch) -> None:
    if DEVICE == "cpu":
        monkeypatch.setattr(InterpreterBuilder, "create_inline_asm", assembly.create_inline_asm)


def words(seed: int, device: str) -> Any:
    """Random ones, after those whose bytes are all the least, the largest, -1, 0, and whose halves are subnormal."""
    generator = torch.Generator().manual_seed(seed)
    extremes = torch.tensor([0x80, 0x7F, 0xFF, 0x00, 0x01, 0x02])[torch.randint(0, 6, (N // 4, 4), generator=generator)]
    random = torch.randint(0, 256, (3 * N // 4, 4), generator=generator)
    return torch.cat((extremes, random)).to(torch.uint8).view(torch.int32).flatten().to(device)


@pytest.mark.parametrize("kernel", [dot4_kernel, upper_halves_kernel, halves_kernel])
@pytest.mark.parametrize("asm", ASMS)
def test_assembly_gives_what_plain_triton_does(kernel: Any, asm: str, device: str) -> None:
    a, b = words(0, device), words(1, device)
    if device != "cpu" and target_of(a.device).asm != asm:
        pytest.skip("it is for another device")
    results = [torch.empty_like(a) for _ in range(2)]
    for y, which in zip(results, (asm, "none"), strict=True):
        kernel[(1,)](a, b, y, N=N, ASM=which)
    assert torch.equal(*results)


@pytest.mark.skipif(DEVICE != "cpu", reason="a device reads its own alone")
def test_all_assembly_is_read() -> None:
    """What stands in the kernels was evaluated by the tests above, each text of it."""
    for asm in ASMS:
        for kernel in (dot4_kernel, upper_halves_kernel, halves_kernel):
            test_assembly_gives_what_plain_triton_does(kernel, asm, "cpu")
    assert assembly.evaluated == {
        text.value
        for path in Path(llmrt_kernels.triton.__path__[0]).glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "inline_asm_elementwise"
        for text in (*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "asm"))
        if isinstance(text, ast.Constant) and "$0" in str(text.value)
    }
