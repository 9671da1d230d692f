"""Norm and gate. The contracts are those of the references of the same names."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.structs import AddRmsNormArgs, SiluMulArgs, address
from llmrt_kernels.cpu.tape import submit


def add_rms_norm(x: Tensor, residual: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x, residual [T, N] fp32, weight [N] fp32 -> (normed, total), both [T, N]."""
    normed, total = torch.empty_like(x), torch.empty_like(x)
    tokens, size = x.shape
    args = AddRmsNormArgs(
        address(x), address(residual), address(weight), address(normed), address(total), tokens, size, eps
    )
    submit("add_rms_norm", args, x, residual, weight, normed, total)
    return normed, total


def silu_mul(gate_up: Tensor) -> Tensor:
    """gate_up [T, 2 I] fp32 -> [T, I]."""
    tokens, size = gate_up.shape[0], gate_up.shape[1] // 2
    y = torch.empty(tokens, size)
    submit("silu_mul", SiluMulArgs(address(gate_up), address(y), tokens, size), gate_up, y)
    return y
