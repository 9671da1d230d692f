"""The residual stream [T, N] fp32: what is added to it besides products, and its own norm. See the references."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.addresses import address
from llmrt_kernels.cpu.structs import AddRowsArgs, AddScaledArgs, StreamNormArgs
from llmrt_kernels.cpu.tape import submit


def add_rows(x: Tensor, table: Tensor, index: Tensor) -> Tensor:
    """x [T, N], table [P, N] fp32, index [T] int64 -> x + table[index]."""
    y = torch.empty_like(x)
    tensors = x, table, index, y
    submit("add_rows", AddRowsArgs(*map(address, tensors), *x.shape), *tensors)
    return y


def add_scaled(x: Tensor, factor: float, residual: Tensor) -> Tensor:
    """x, residual [T, N] -> residual + factor * x."""
    y = torch.empty_like(x)
    tensors = x, residual, y
    submit("add_scaled", AddScaledArgs(*map(address, tensors), *x.shape, factor), *tensors)
    return y


def stream_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """x [T, N], weight and bias [N] -> LayerNorm of x."""
    y = torch.empty_like(x)
    tensors = x, weight, bias, y
    submit("stream_norm", StreamNormArgs(*map(address, tensors), *x.shape, eps), *tensors)
    return y
