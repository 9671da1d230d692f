"""What adapters add to products, on every instruction set of this machine, against float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llmrt_kernels.cpu.library import load
from llmrt_kernels.cpu.linear import activated_linear, gated_linear, linear, quantize_rows, rotary_linear, round_rows
from llmrt_kernels.cpu.lora import lora
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.low_rank import LowRank, LowRankTable
from llmrt_kernels.packed import Codes, Rows
from llmrt_kernels.reference import lora as reference
from llmrt_kernels.reference.linear_packed import activated_linear_packed, gated_linear_packed, rotary_linear_packed
from tests.kernels.operands import draw
from tests.kernels.packing import float_matrix, float_weight, meant

pytestmark = pytest.mark.usefixtures("isa")

FP32, BF16 = torch.float32, torch.bfloat16
COLUMNS, ROWS = 160, 112
# The pieces of each adapter: rank, first output, outputs. The third leaves this product alone.
PIECES = [[(16, 0, 64), (16, 64, 16), (16, 80, 32)], [(48, 64, 48)], [], [(32, 0, 112)]]

Dense = list[list[tuple[Tensor, Tensor, int]]]


def table_of(dtype: torch.dtype) -> tuple[LowRankTable, Dense]:
    adapters: list[tuple[LowRank, ...]] = []
    dense: Dense = []
    for number, pieces in enumerate(PIECES):
        made = [
            (float_matrix(rank, COLUMNS, dtype, number), float_matrix(outputs, rank, dtype, number + 9), start)
            for rank, start, outputs in pieces
        ]
        adapters.append(tuple(LowRank(a, b, start) for (a, _), (b, _), start in made))
        dense.append([(a, b, start) for (_, a), (_, b), start in made])
    return LowRankTable(ROWS, tuple(adapters)), dense


def activations(tokens: int, kind: str) -> Codes | Rows:
    x = draw(tokens, COLUMNS)
    return quantize_rows(x, 32) if kind == "int8" else round_rows(x, {"fp32": FP32, "bf16": BF16}[kind])


@pytest.mark.parametrize("tokens", [1, 3, 8, 29, 99])  # of the last, each adapter has many
@pytest.mark.parametrize("kind", ["int8", "bf16", "fp32"])
@pytest.mark.parametrize("dtype", [FP32, BF16])
def test_each_token_gets_what_its_own_adapter_adds(tokens: int, kind: str, dtype: torch.dtype) -> None:
    table, dense = table_of(dtype)
    x, residual = activations(tokens, kind), draw(tokens, ROWS) if tokens % 2 else None
    adapters = torch.randint(-1, len(PIECES) + 1, (tokens,), generator=torch.Generator().manual_seed(tokens))
    expected = torch.zeros(tokens, ROWS, dtype=torch.float64) if residual is None else residual.double()
    wide = meant(x, COLUMNS)
    for token, number in enumerate(adapters.tolist()):
        for a, b, start in dense[number] if 0 <= number < len(dense) else []:
            expected[token, start : start + len(b)] += b @ (a @ wide[token])
    assert (lora(x, adapters, table, residual).double() - expected).norm() <= 1e-6 * expected.norm()
    plain = x if isinstance(x, Codes) else x.values[:, :COLUMNS]
    assert (reference.lora(plain, adapters, table, residual, FP32).double() - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_token_depends_neither_on_those_beside_it_nor_on_threads(threads: int) -> None:
    table, _ = table_of(BF16)
    adapters = torch.tensor([3, 0, -1, 1, 3, 3, 0, 2, 1, 3, 3, 3, 3] + [3] * 10)
    library = load()
    assert library is not None
    library.set_threads(threads)
    x, residual = draw(23, COLUMNS), draw(23, ROWS)
    together = lora(quantize_rows(x, 32), adapters, table, residual)
    library.set_threads(3)
    for i in range(23):
        one = slice(i, i + 1)
        alone = lora(quantize_rows(x[one], 32), adapters[one].clone(), table, residual[one].contiguous())
        assert torch.equal(alone[0], together[i])


@pytest.mark.parametrize("tokens", [1, 5, 9, 19])
def test_products_take_it_before_what_follows_them(tokens: int) -> None:
    """The activations, and the rotation of queries and keys, are of the sum."""
    x = activations(tokens, "fp32")
    assert isinstance(x, Rows)
    plain = x.values[:, :COLUMNS]
    weight, _ = float_weight((128,), COLUMNS, (FP32,))
    delta = 10 * draw(tokens, 128)
    gated = gated_linear(x, weight, delta=delta)
    assert isinstance(gated, Rows)
    torch.testing.assert_close(
        gated.values[:, :64], gated_linear_packed(plain, weight, delta=delta), rtol=1e-4, atol=1e-3
    )
    bent = activated_linear(x, weight, "relu", delta=delta)
    assert isinstance(bent, Rows)
    torch.testing.assert_close(bent.values[:, :128], (linear(x, weight) + delta).relu())
    torch.testing.assert_close(bent.values[:, :128], activated_linear_packed(plain, weight, "relu", delta=delta))
    written: list[list[Tensor]] = []
    for rotary, given in ((rotary_linear, x), (rotary_linear_packed, plain)):
        cache = [torch.zeros(3, 1, 16, 32) for _ in "kv"]
        positions, cos_sin = torch.arange(tokens), draw(20, 2, 16)
        q = rotary(given, weight, positions, cos_sin, positions + 16, LayerKVCache(*cache), delta=delta)
        written.append([q, *cache])
    for actual, expected in zip(*written, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-3)
