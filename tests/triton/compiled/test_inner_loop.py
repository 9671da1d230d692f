"""Counting the instructions of a loop, in code whose loops are known."""

from __future__ import annotations

import pytest
import triton
import triton.language as tl

from benchmarks.kernel_table.build import build
from benchmarks.kernel_table.inner_loop import SASS, innermost_loops, instructions_per_weight, product_loop
from llmrt_kernels.triton.dot4 import dot4
from llmrt_kernels.triton.target import TARGETS, Target
from llmrt_kernels.triton.variant import Variant

NESTED = """
.L_x_0:
        /*0010*/                   MOV R1, R2 ;
.L_x_1:
        /*0020*/                   IDP.4A.S8.S8 R1, R2, R3, R4 ;
        /*0030*/               @P0 BRA `(.L_x_2) ;
        /*0040*/                   IADD3 R1, R1, R2, RZ ;
.L_x_2:
        /*0050*/               @P1 BRA `(.L_x_1) ;
        /*0060*/               @P2 BRA `(.L_x_0) ;
.L_x_3:
        /*0070*/                   BRA `(.L_x_3) ;
"""


@triton.jit
def sum_of_products(w_ptr, x_ptr, y_ptr, K, BLOCK: tl.constexpr, PRODUCTS: tl.constexpr, ASM: tl.constexpr):
    """PRODUCTS products of each word."""
    at = tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.int32)
    for start in range(0, K, BLOCK):
        w = tl.load(w_ptr + start + at)
        for i in tl.static_range(PRODUCTS):
            total = dot4(w ^ i, tl.load(x_ptr + i * BLOCK + at), total, ASM)
    tl.store(y_ptr + at, total)


def variant(products: int) -> Variant:
    pointers = {"w_ptr": "*i32", "x_ptr": "*i32", "y_ptr": "*i32", "K": "i32"}
    return Variant("", sum_of_products, pointers, {"BLOCK": 128, "PRODUCTS": products}, weights=4 * 128)


CUDA = [target for target in TARGETS if target.backend == "cuda"]


def test_inner_loops_are_found() -> None:
    (loop, trap) = innermost_loops(NESTED, SASS)
    assert [line.split()[0] for line in loop] == ["IDP.4A.S8.S8", "@P0", "IADD3", "@P1"]
    assert trap == ["BRA `(.L_x_3)"]
    assert product_loop(NESTED, SASS) == loop


@pytest.mark.parametrize("target", CUDA, ids=lambda target: target.name)
def test_a_product_more_is_counted_whatever_is_unrolled(target: Target) -> None:
    counts = [instructions_per_weight(build(variant(products), target), 4 * 128) for products in (1, 2, 3)]
    assert None not in counts
    first, second, third = counts
    # A product has a load, an exclusive or and the product itself, for four weights.
    assert second - first == pytest.approx(0.75, abs=0.3)
    assert third - second == pytest.approx(0.75, abs=0.3)
    assert 0.5 < first < 2.5
