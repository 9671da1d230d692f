"""What adapters add to products, against float64: few tokens and many, floats and codes, any mixture of adapters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llmrt_kernels.low_rank import LowRank, LowRankTable, TableForm
from llmrt_kernels.packed import Codes
from llmrt_kernels.triton.lora import FEW_TOKENS, lora
from tests.kernels.operands import draw, relative
from tests.kernels.packing import float_matrix, meant
from tests.triton.interpreted.test_triton_linear import ROUNDING, matrix_on, random_codes

FP32, BF16, FP16 = torch.float32, torch.bfloat16, torch.float16
ROWS = 152
Pieces = list[list[tuple[int, int, int]]]
# The pieces of each adapter: rank, first output, outputs. The third leaves this product alone.
PIECES: Pieces = [[(16, 0, 64), (16, 64, 16), (48, 80, 72)], [(80, 64, 48)], [], [(32, 0, ROWS)]]
UNALIGNED: Pieces = [[(16, 20, 40), (16, 60, 16)]]
NOTHING, MORE = TableForm(), TableForm(pieces=4, ranks=112, aligned=False)  # compiled before


@pytest.mark.parametrize(
    ("tokens", "columns", "kind", "dtype", "out", "pieces"),
    [
        (1, 96, "int8", BF16, BF16, PIECES),
        (3, 160, "fp32", FP32, FP32, PIECES),
        (5, 1200, "bf16", BF16, BF16, PIECES),
        (7, 160, "fp16", BF16, FP16, UNALIGNED),
        (70, 160, "fp32", FP32, FP32, PIECES),
        (71, 208, "int8", BF16, BF16, PIECES),
        (90, 96, "bf16", BF16, BF16, UNALIGNED),
    ],
)
def test_each_token_gets_what_its_own_adapter_adds(
    tokens: int, columns: int, kind: str, dtype: torch.dtype, out: torch.dtype, pieces: Pieces, device: str
) -> None:
    before = MORE if tokens in (3, 71) else NOTHING
    table, dense = table_of(pieces, columns, dtype, device, before)
    x, wide = activations(tokens, columns, kind, device)
    adapters = torch.randint(-1, len(pieces) + 1, (tokens,), generator=torch.Generator().manual_seed(tokens))
    residual = 3 * draw(tokens, ROWS, seed=1).to(out) if tokens % 2 else None
    expected = torch.zeros(tokens, ROWS, dtype=torch.float64) if residual is None else residual.double()
    for token, number in enumerate(adapters.tolist()):
        for a, b, start in dense[number] if 0 <= number < len(dense) else []:
            expected[token, start : start + len(b)] += b @ (a @ wide[token])
    y = lora(x, adapters.to(device), table, None if residual is None else residual.to(device), out)
    assert y.dtype == out
    # The matrix units take bf16, to which x and a x are rounded as y is.
    assert relative(y.cpu(), expected) < (2e-2 if tokens > FEW_TOKENS and dtype == BF16 else ROUNDING[out])


def test_no_adapter_at_all_leaves_the_residual(device: str) -> None:
    table, _ = table_of(PIECES, 96, BF16, device)
    for tokens in (2, FEW_TOKENS + 1):
        residual = draw(tokens, ROWS).to(device)
        nobody = torch.full((tokens,), -1, device=device)
        assert torch.equal(lora(draw(tokens, 96).to(device), nobody, table, residual, FP32), residual)


def table_of(
    adapters: Pieces, columns: int, dtype: torch.dtype, device: str, before: TableForm = NOTHING
) -> tuple[LowRankTable, list[list[tuple[Tensor, Tensor, int]]]]:
    """Random matrices, and the same in float64."""
    made: list[tuple[LowRank, ...]] = []
    dense: list[list[tuple[Tensor, Tensor, int]]] = []
    for number, pieces in enumerate(adapters):
        pairs = [
            (float_matrix(rank, columns, dtype, number), float_matrix(outputs, rank, dtype, number + 9), start)
            for rank, start, outputs in pieces
        ]
        records = (LowRank(matrix_on(a, device), matrix_on(b, device), at) for (a, _), (b, _), at in pairs)
        made.append(tuple(records))
        dense.append([(a, b, start) for (_, a), (_, b), start in pairs])
    return LowRankTable(ROWS, tuple(made), before), dense


def activations(tokens: int, columns: int, kind: str, device: str) -> tuple[Tensor | Codes, Tensor]:
    """Random ones, and what they stand for."""
    if kind == "int8":
        return random_codes(tokens, columns, 32, device), meant(random_codes(tokens, columns, 32, "cpu"), columns)
    x = draw(tokens, columns).to({"fp32": FP32, "bf16": BF16, "fp16": FP16}[kind])
    return x.to(device), x.double()
