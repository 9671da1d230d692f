"""Mixtral's sparse mixture of experts (https://arxiv.org/abs/2401.04088).

p      = softmax(x W_router^T)                 over the E experts, in fp32
y      = sum over the k largest p:  p_e / (sum of those k) * expert_e(x)
expert = down(silu(gate(x)) * up(x))
"""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.reference.linear import linear
from llmrt_kernels.reference.silu_mul import silu_mul


def route(router_logits: Tensor, num_active: int) -> tuple[Tensor, Tensor]:
    """Choose experts. router_logits [T, E] -> (weights [T, k] fp32 that sum to 1, experts [T, k] int64)."""
    weights, experts = torch.topk(router_logits.float().softmax(-1), num_active)
    return weights / weights.sum(-1, keepdim=True), experts


def moe_experts(
    x: Tensor, router_logits: Tensor, gate_up_weight: Tensor, down_weight: Tensor, num_active: int
) -> Tensor:
    """Send each token through its experts. x [T, N] -> [T, N].

    router_logits [T, E]; gate_up_weight [E, 2 I, N], gate above up; down_weight [E, N, I].
    """
    weights, experts = route(router_logits, num_active)
    out = torch.zeros_like(x, dtype=torch.float32)
    for expert in experts.unique().tolist():
        token, choice = torch.where(experts == expert)
        hidden = silu_mul(linear(x[token], gate_up_weight[expert], None))
        y = linear(hidden, down_weight[expert], None).float() * weights[token, choice].unsqueeze(-1)
        out.index_add_(0, token, y)
    return out.to(x.dtype)
