"""Products with weights as they were stored, on every instruction set of this machine, against float64."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.cpu.linear import embedding, gated_linear, linear, rms_norm, rotary_linear, round_rows
from llmrt_kernels.cpu.moe import expert_gated_linear, moe_experts, route
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.packed import BLOCK, Weight, in_blocks
from llmrt_kernels.reference.linear_packed import gated_linear_packed, linear_packed, rotary_linear_packed
from llmrt_kernels.reference.moe import moe_experts_packed
from tests.kernels.operands import draw, relative
from tests.kernels.packing import float_matrix, float_weight, meant

pytestmark = pytest.mark.usefixtures("isa")

FP32, BF16, FP16 = torch.float32, torch.bfloat16, torch.float16
KINDS = [(FP32, FP32), (FP32, BF16), (FP32, FP16), (BF16, BF16)]  # of activations and weights
ROWS_AND_COLUMNS = [((16,), 16), ((1,), 32), ((48, 50), 80), ((32, 16, 33), 208), ((100,), 576)]


@pytest.mark.parametrize("dtype", [FP32, BF16, FP16])
@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (64, 48)])
def test_blocks_are_as_the_layout_says(rows: int, columns: int, dtype: torch.dtype) -> None:
    matrix, dense = float_matrix(rows, columns, dtype)
    assert torch.equal(in_blocks(dense.to(dtype)), matrix.data)


@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (3, 160), (9, 576)])
def test_rows_are_rounded_to_nearest_even(tokens: int, size: int) -> None:
    x = draw(tokens, size)
    x[0, :4] = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, -0.0, 3e38])
    for dtype in (FP32, BF16):
        rows = round_rows(x, dtype)
        assert (rows.num_tokens, rows.columns) == (tokens, size)
        assert torch.equal(rows.values[:, :size], x.to(dtype))


@pytest.mark.parametrize(("rows", "columns"), ROWS_AND_COLUMNS)
@pytest.mark.parametrize("tokens", [1, 2, 5, 8, 9, 13])
@pytest.mark.parametrize(("activations", "weights"), KINDS)
def test_linear_equals_the_formula(
    rows: tuple[int, ...], columns: int, tokens: int, activations: torch.dtype, weights: torch.dtype
) -> None:
    weight, dense = float_weight(rows, columns, (weights,) * len(rows), bias=tokens % 2 == 1, seed=sum(rows))
    x = round_rows(draw(tokens, columns), activations)
    residual = draw(tokens, sum(rows)) if tokens % 3 else None
    expected = meant(x, columns) @ dense.T
    expected += (0 if weight.bias is None else weight.bias) + (0 if residual is None else residual)
    assert relative(linear(x, weight, residual), expected) < 1e-6
    assert relative(linear_packed(meant(x, columns).float(), weight, residual), expected) < 1e-6


def test_pieces_may_be_stored_differently() -> None:
    weight, dense = float_weight((32, 16, 21), 96, (BF16, FP32, FP16))
    x = draw(3, 96)
    assert relative(linear(round_rows(x, FP32), weight), x.double() @ dense.T) < 1e-6


@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (3, 160), (11, 576)])
@pytest.mark.parametrize("dtype", [FP32, BF16])
def test_norm_equals_the_formula(tokens: int, size: int, dtype: torch.dtype) -> None:
    x, weight = draw(tokens, size) * 10, draw(size)
    wide = x.double()
    expected = wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    actual = meant(rms_norm(x, weight, 1e-5, 0, dtype), size)
    torch.testing.assert_close(actual, expected, rtol=2e-6 if dtype == FP32 else 2**-8, atol=1e-30)


@pytest.mark.parametrize("tokens", [1, 4, 17])
@pytest.mark.parametrize("size", [16, 224])
@pytest.mark.parametrize(("activations", "weights"), KINDS)
def test_gated_linear_equals_the_formula(
    tokens: int, size: int, activations: torch.dtype, weights: torch.dtype
) -> None:
    weight, dense = float_weight((2 * size,), 96, (weights,), bias=tokens == 4)
    x = round_rows(draw(tokens, 96) / 10, activations)
    product = meant(x, 96) @ dense.T + (0 if weight.bias is None else weight.bias)
    gate, up = product.unflatten(1, (-1, 2, BLOCK)).unbind(2)  # a block of each in turn
    expected = (gate * gate.sigmoid() * up).flatten(1)
    y = gated_linear(x, weight)
    assert y.columns == size
    assert relative(meant(y, size), expected) < (1e-6 if activations == FP32 else 3e-3)
    assert relative(gated_linear_packed(meant(x, 96).float(), weight), expected) < 1e-6


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(2, 1, 32), (4, 2, 96)])
@pytest.mark.parametrize(("activations", "weights"), KINDS)
def test_rotary_linear_equals_the_reference(
    heads: int, kv_heads: int, head_dim: int, activations: torch.dtype, weights: torch.dtype
) -> None:
    tokens, block = 9, 16
    weight, _ = float_weight(((heads + 2 * kv_heads) * head_dim,), 96, (weights,), bias=True)
    x = round_rows(draw(tokens, 96), activations)
    positions, slots = torch.arange(tokens) * 7, torch.randperm(4 * block)[:tokens]
    pages = [torch.zeros(4, kv_heads, block, head_dim) for _ in range(4)]
    operands = (weight, positions, draw(100, 2, head_dim // 2), slots)
    q = rotary_linear(x, *operands, LayerKVCache(*pages[:2]))
    expected = rotary_linear_packed(meant(x, 96).float(), *operands, LayerKVCache(*pages[2:]))
    for actual, wanted in zip((q, *pages[:2]), (expected, *pages[2:]), strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [FP32, BF16, FP16])
def test_rows_of_a_table_are_exact(dtype: torch.dtype) -> None:
    matrix, dense = float_matrix(50, 96, dtype)
    ids = torch.tensor([49, 0, 17, 17, 16])
    assert torch.equal(embedding(ids, Weight((matrix,), BLOCK), 96).double(), dense[ids])


@pytest.mark.parametrize("tokens", [1, 9])
@pytest.mark.parametrize(("activations", "weights"), KINDS)
def test_experts_equal_the_reference(tokens: int, activations: torch.dtype, weights: torch.dtype) -> None:
    num_experts, hidden, inner = 4, 96, 80
    gate_up, _ = float_weight((num_experts * 2 * inner,), hidden, (weights,), seed=1)
    down, _ = float_weight((num_experts * hidden,), inner, (weights,), seed=2)
    x, router, residual = (
        round_rows(draw(tokens, hidden) / 10, activations),
        draw(num_experts, hidden),
        draw(tokens, hidden),
    )
    wide = meant(x, hidden)
    routing, pairs = route(x, router, 2)
    expected = (wide @ router.double().T).softmax(1).topk(2)
    assert torch.equal(routing.experts, expected.indices)
    token_of_row = routing.rows.flatten().argsort() // 2
    assert torch.equal(meant(pairs, hidden), wide[token_of_row])
    assert expert_gated_linear(pairs, gate_up, routing).columns == inner
    out = moe_experts(x, router, gate_up, down, 2, residual)
    reference = moe_experts_packed(wide.float(), router, gate_up, down, 2, residual)
    assert relative(out, reference.double()) < (1e-6 if activations == FP32 else 5e-3)
