"""The checker itself, by kernels that are wrong: each fault is found and said where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton
import triton.language as tl

from llmrt_kernels.triton.codes import empty_codes
from tests.triton.interpreted.conftest import DEVICE

pytestmark = pytest.mark.skipif(DEVICE != "cpu", reason="a device has no checker")

Kernel = Callable[..., None]


@triton.jit
def reads_past_the_end(x_ptr, y_ptr, N: tl.constexpr):
    i = tl.program_id(0) * 4 + tl.arange(0, 4)
    tl.store(y_ptr + i, tl.load(x_ptr + i), mask=i < N)


@triton.jit
def writes_before_the_start(x_ptr, y_ptr, N: tl.constexpr):
    tl.store(y_ptr - 1 + tl.arange(0, 4), tl.load(x_ptr + tl.arange(0, 4)))


@triton.jit
def reads_between_elements(x_ptr, y_ptr, N: tl.constexpr):
    words = (x_ptr.to(tl.pointer_type(tl.int8)) + 4).to(tl.pointer_type(tl.int64))
    tl.store(y_ptr, tl.load(words + tl.program_id(0)).to(tl.float32))


@triton.jit
def all_write_one_place(x_ptr, y_ptr, N: tl.constexpr):
    tl.store(y_ptr + 2, tl.load(x_ptr + tl.program_id(0)))


@triton.jit
def all_write_the_same(x_ptr, y_ptr, N: tl.constexpr):
    tl.store(y_ptr + 2, tl.load(x_ptr))


@triton.jit
def lanes_write_one_place(x_ptr, y_ptr, N: tl.constexpr):
    tl.store(y_ptr + tl.arange(0, 4) // 2, tl.load(x_ptr + tl.arange(0, 4)))


@triton.jit
def reads_what_another_writes(x_ptr, y_ptr, N: tl.constexpr):
    p = tl.program_id(0)
    tl.store(y_ptr + p, tl.load(y_ptr + (p + 1) % 2))


@triton.jit
def reads_what_another_adds_to(x_ptr, y_ptr, N: tl.constexpr):
    tl.atomic_add(y_ptr, tl.load(y_ptr + 0))


@triton.jit
def reads_what_it_wrote(x_ptr, y_ptr, N: tl.constexpr):
    i = tl.program_id(0) * 2 + tl.arange(0, 2)
    tl.store(y_ptr + i, tl.load(x_ptr + i))
    tl.store(x_ptr + i, tl.load(y_ptr + i))


@triton.jit
def tells_a_wrong_multiple(x_ptr, y_ptr, N: tl.constexpr):
    i = tl.multiple_of(tl.program_id(0) + 1, 2)
    tl.store(y_ptr + i, tl.load(x_ptr + i))


@triton.jit
def tells_a_wrong_constancy(x_ptr, y_ptr, N: tl.constexpr):
    i = tl.max_constancy(tl.arange(0, 4) // 2, 4)
    tl.store(y_ptr + i, tl.load(x_ptr + i))


@triton.jit
def tells_a_wrong_contiguity(x_ptr, y_ptr, N: tl.constexpr):
    i = tl.max_contiguous(tl.arange(0, 4) ^ 1, 2)
    tl.store(y_ptr + i, tl.load(x_ptr + i))


def run(kernel: Any, programs: int = 2) -> None:
    x = torch.arange(6.0)
    kernel[(programs,)](x[:5], torch.zeros(6), N=5)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (reads_past_the_end, r"program \(1, 0, 0\): a load outside of x_ptr\[7\], which has 5 elements"),
        (writes_before_the_start, r"a store outside of y_ptr\[-1\], which has 6 elements"),
        (reads_between_elements, r"a load of 8 bytes at x_ptr\[[13]\], which is not aligned to them"),
        (all_write_one_place, r"a store to y_ptr\[2\], where another program stores, too"),
        (lanes_write_one_place, r"a store of different values to one address"),
        (reads_what_another_writes, r"a load of y_ptr\[[01]\], which another program stores to"),
        (reads_what_another_adds_to, r"a load of y_ptr\[0\], which another program changes"),
        (reads_what_it_wrote, r"a load of y_ptr\[[02]\], which the program stored without a barrier after it"),
        (tells_a_wrong_multiple, r"program \(0, 0, 0\): tl.multiple_of\(2\) does not hold"),
        (tells_a_wrong_constancy, r"tl.max_constancy\(4\) does not hold"),
        (tells_a_wrong_contiguity, r"tl.max_contiguous\(2\) does not hold"),
    ],
)
def test_a_fault_is_found(kernel: Any, message: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=f"^{kernel.fn.__name__}, .*{message}"):
        run(kernel)


def test_the_same_value_from_two_programs_is_no_fault() -> None:
    run(all_write_the_same)


@triton.jit
def copy_kernel(x_ptr, y_ptr):
    i = tl.program_id(0) * 4 + tl.arange(0, 4)
    tl.store(y_ptr + i, tl.load(x_ptr + i))


def test_what_nobody_wrote_is_not_read() -> None:
    """What a launcher allocates is written by kernels, a program at a time, or by torch."""
    x, y = (empty_codes(1, 8, 8, torch.device("cpu")).codes for _ in range(2))
    with pytest.raises(pytest.fail.Exception, match=r"a load of x_ptr\[[04]\], which nobody has written"):
        copy_kernel[(2,)](x, y)
    copy_kernel[(1,)](torch.zeros(8, dtype=torch.int8), x)
    with pytest.raises(pytest.fail.Exception, match=r"\(1, 0, 0\): a load of x_ptr\[4\], which nobody has written"):
        copy_kernel[(2,)](x, y)
    x.zero_()
    copy_kernel[(2,)](x, y)


@triton.jit
def order_kernel(order_ptr, counter_ptr):
    tl.store(order_ptr + tl.atomic_add(counter_ptr, 1), tl.program_id(0))


def test_programs_run_in_any_order() -> None:
    order = torch.full((64,), -1)
    order_kernel[(64,)](order, torch.zeros(1, dtype=torch.int32))
    assert order.tolist() != sorted(order.tolist()) == list(range(64))
