"""What adapters add to a product (https://arxiv.org/abs/2106.09685): y = r + b (a x), by the adapter of each token."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.low_rank import LowRankTable
from llmrt_kernels.packed import BLOCK, Codes
from llmrt_kernels.reference.linear_packed import dequantize


def lora(
    x: Tensor | Codes, adapters: Tensor, table: LowRankTable, residual: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """x [T, K], residual [T, N] -> [T, N] of ``dtype``.

    adapters [T] int64 are places in the table; one beyond it adds nothing.
    """
    values = x.float() if isinstance(x, Tensor) else _meant(x)
    y = values.new_zeros(len(adapters), table.rows) if residual is None else residual.float().clone()
    for number in adapters.unique().tolist():
        rows = (adapters == number).nonzero()[:, 0]
        for piece in table.adapters[number] if 0 <= number < len(table.adapters) else ():
            a, b = dequantize(piece.a, BLOCK), dequantize(piece.b, BLOCK)
            end = piece.start + piece.b.rows
            y[rows, piece.start : end] += values[rows, : a.shape[1]] @ a.T @ b.T
    return y.to(dtype)


def _meant(x: Codes) -> Tensor:
    """The activations that int8 codes stand for, [T, K] fp32."""
    codes = x.codes[:, : x.columns].float().unflatten(1, (-1, x.group))
    return (codes * x.scales.unsqueeze(2)).flatten(1)
