"""A token's results are the same bits alone and in any batch, on every instruction set of this machine.

For it greedy answers depend neither on the batch nor on how prompts are cut into steps, and what is chosen when drafts
are verified together is what steps of one token would have chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from llmrt_kernels.cpu.attention import paged_attention
from llmrt_kernels.cpu.library import load
from llmrt_kernels.cpu.linear import (
    activated_linear,
    gate_rows,
    gated_linear,
    layer_norm,
    linear,
    quantize_rows,
    rms_norm,
    rms_norm_add,
    rotary_linear,
    round_rows,
)
from llmrt_kernels.cpu.moe import moe_experts
from llmrt_kernels.cpu.residual import add_rows, add_scaled, stream_norm
from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.layout import FORMS
from llmrt_kernels.packed import Codes, Matrix, Rows, Weight
from tests.kernels.attention_problem import SCALE, Problem
from tests.kernels.operands import draw
from tests.kernels.packing import float_weight, meant, random_weight

pytestmark = pytest.mark.usefixtures("isa")

MOST = 19  # rows, of which more than 16 are many
COLUMNS = 112  # no whole groups
Op = Callable[[Codes | Rows, Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Packed:
    """Matrices of codes, and activations for them."""

    columns: ClassVar[int] = COLUMNS
    inner: ClassVar[int] = 16  # columns of the second product of an MLP
    bits: int
    group: int
    affine: bool = False

    def matrices(self, *rows: int, columns: int = COLUMNS) -> Weight:
        bits = (self.bits,) * len(rows)
        return random_weight(rows, columns, bits, self.group, bias=True, affine=self.affine)[0]

    def rounded(self, x: Tensor) -> Codes | Rows:
        return quantize_rows(x, self.group)


@dataclass(frozen=True)
class Floats:
    """The same as floats."""

    columns: ClassVar[int] = COLUMNS
    inner: ClassVar[int] = 16
    weights: torch.dtype
    activations: torch.dtype

    def matrices(self, *rows: int, columns: int = COLUMNS) -> Weight:
        return float_weight(rows, columns, (self.weights,) * len(rows), bias=True)[0]

    def rounded(self, x: Tensor) -> Codes | Rows:
        return round_rows(x, self.activations)


@dataclass(frozen=True)
class Nested:
    """The same in a form of GGUF's, of random bytes."""

    columns: ClassVar[int] = 256
    inner: ClassVar[int] = 256
    name: str

    def matrices(self, *rows: int, columns: int = 256) -> Weight:
        return Weight(tuple(self.matrix(count, columns) for count in rows), 32)

    def matrix(self, rows: int, columns: int) -> Matrix:
        form, blocks = FORMS[self.name], -(-rows // 16)
        shape = blocks, columns // form.strip * form.lines, 64
        data = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(rows))
        scales, offsets = draw(2, blocks, columns // form.outer, 16).div(256).half()
        return Matrix(data, scales, form.bits, rows, offsets if form.affine else None, self.name)

    def rounded(self, x: Tensor) -> Codes | Rows:
        return quantize_rows(x, 32)


KINDS = [
    *(Packed(bits, group) for bits in (4, 8) for group in (32, 64)),
    *(Packed(bits, 32, affine=True) for bits in (4, 8)),
    *(Floats(weights, torch.float32) for weights in (torch.float32, torch.bfloat16, torch.float16)),
    Floats(torch.bfloat16, torch.bfloat16),
    *map(Nested, FORMS),
]


def ops(kind: Packed | Floats | Nested) -> dict[str, Op]:
    """Everything that takes rows of activations, and the same rows in fp32."""
    ragged, gate_up, first, qkv = (kind.matrices(*rows) for rows in ((48, 35), (96,), (48,), (4 * 32,)))
    experts = kind.matrices(3 * 2 * kind.inner)
    down = kind.matrices(3 * kind.columns, columns=kind.inner)
    experts, down = replace(experts, bias=None), replace(down, bias=None)
    gate, router = draw(1, kind.columns), draw(3, kind.columns)

    def rotary(x: Codes | Rows, norm: HeadNorm | None = None) -> tuple[Tensor, ...]:
        tokens = torch.arange(x.num_tokens)
        k, v = torch.zeros(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)
        q = rotary_linear(x, qkv, 0 * tokens, draw(1, 2, 16), tokens, LayerKVCache(k, v), norm)
        return q, k[0, 0, : x.num_tokens], v[0, 0, : x.num_tokens]

    of_all_heads, of_each = HeadNorm(draw(64), draw(32), 1e-5), HeadNorm(draw(2, 32), draw(1, 32), 1e-5, centred=True)

    return {
        "linear": lambda x, _: (linear(x, ragged),),
        "linear with a residual": lambda x, rows: (linear(x, ragged, rows[:, :83].contiguous()),),
        "gated_linear": lambda x, _: (meant(gated_linear(x, gate_up), 48),),
        "activated_linear": lambda x, _: (meant(activated_linear(x, first, "gelu"), 48),),
        "gate_rows": lambda x, _: (meant(gate_rows(x, gate, activated_linear(x, first, "silu")), 48),),
        "rotary_linear": lambda x, _: rotary(x),
        "rotary_linear with a norm of all heads": lambda x, _: rotary(x, of_all_heads),
        "rotary_linear with a norm of each head": lambda x, _: rotary(x, of_each),
        "moe_experts": lambda x, rows: (moe_experts(x, router, experts, down, 2, rows),),
    }


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_of_products(kind: Packed | Floats | Nested) -> None:
    for name, op in ops(kind).items():
        check(name, lambda rows, op=op: op(kind.rounded(rows), rows), kind.columns)


@pytest.mark.parametrize("group", [0, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_norms(group: int, dtype: torch.dtype) -> None:
    weight, bias = draw(2, COLUMNS)
    check("rms_norm", lambda x: (meant(rms_norm(x, weight, 1e-5, group, dtype), COLUMNS),))
    check("layer_norm", lambda x: (meant(layer_norm(x, weight, bias, 1e-5, group, dtype), COLUMNS),))
    check("stream_norm", lambda x: (stream_norm(x, weight, bias, 1e-5),))
    check("add_rows", lambda x: (add_rows(x, x, torch.arange(len(x))),))
    check("add_scaled", lambda x: (add_scaled(x, 0.3, 2 * x),))
    check("rms_norm_add", lambda x: (rms_norm_add(x, weight, 1e-5, 2 * x),))


def check(name: str, op: Callable[[Tensor], tuple[Tensor, ...]], columns: int = COLUMNS) -> None:
    """``op`` of the first and of the last n rows, for every n, and on another number of threads."""
    library, rows = load(), draw(MOST, columns) * draw(MOST, 1).abs()
    assert library is not None
    together = op(rows)
    for n in range(1, MOST):
        library.set_threads(1 + n % 3)
        for some in (slice(0, n), slice(MOST - n, MOST)):
            for actual, expected in zip(op(rows[some].contiguous()), together, strict=True):
                assert torch.equal(actual, expected[some]), (name, n)


CACHES = [torch.float32, torch.bfloat16, torch.float16, torch.uint8]


@pytest.mark.parametrize("dtype", CACHES)
@pytest.mark.parametrize("window", [None, 5, 300])
@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (8, 2), (11, 1)])
def test_of_attention(dtype: torch.dtype, window: int | None, heads: int, kv_heads: int) -> None:
    """Queries at once and one after the other: short, over the border of chunks, the most that are few, a prompt."""
    lengths = [(2, 2), (5, 1027), (3, 70), (16, 420), (40, 1040)]
    problem = Problem.draw(lengths, 16, (heads, kv_heads), 32, window, growth=0.05)
    check_queries(problem, dtype)


def test_of_attention_where_chunks_become_larger() -> None:
    check_queries(Problem.draw([(9, 63_492), (20, 63_500)], 16, (1, 1), 16, None), torch.uint8)


def check_queries(problem: Problem, dtype: torch.dtype) -> None:
    cache = random_cache(problem, dtype)
    tables, starts, lens = problem.indices()
    heads = problem.q.shape[1]
    slopes = None if heads == 2 else 2.0 ** -torch.arange(heads)

    def attend(rows: slice, requests: slice, starts: Tensor, lens: Tensor) -> Tensor:
        q = problem.q[rows]
        out = torch.full_like(q, torch.nan)
        operands = q, cache, tables[requests], starts, lens, 16, SCALE, problem.window, 32
        paged_attention(*operands, out=out, slopes=slopes)
        return out

    together = attend(slice(None), slice(None), starts, lens)
    for b, (new, total) in enumerate(problem.requests):
        for i in range(new):
            row = int(starts[b]) + i
            length = torch.tensor([total - new + i + 1])
            alone = attend(slice(row, row + 1), slice(b, b + 1), torch.tensor([0, 1]), length)
            assert torch.equal(alone[0], together[row]), (b, i)


def random_cache(problem: Problem, dtype: torch.dtype) -> LayerKVCache:
    """Pages of keys and values, and their scales; NaN where nothing was written."""
    if dtype != torch.uint8:
        k, v = (problem.pages(rows, torch.nan).to(dtype) for rows in (problem.keys, problem.values))
        return LayerKVCache(k, v)
    shape = problem.num_blocks, problem.keys[0].shape[1], problem.block, problem.q.shape[2]
    k, v = torch.randint(1, 256, (2, *shape)).to(torch.uint8)
    scales = [[row.abs().amax(-1) / 127 for row in rows] for rows in (problem.keys, problem.values)]
    k_scales, v_scales = (problem.pages(rows, torch.nan) for rows in scales)
    return LayerKVCache(k, v, k_scales, v_scales)
