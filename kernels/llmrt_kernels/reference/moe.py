"""Mixtral's sparse mixture of experts (https://arxiv.org/abs/2401.04088).

p      = softmax(x W_router^T)                 over the E experts, in fp32
y      = sum over the k largest p:  p_e / (sum of those k) * expert_e(x), undivided if they are not renormalized
expert = down(silu(gate(x)) * up(x))
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from llmrt_kernels.packed import Matrix, Weight
from llmrt_kernels.reference.activation import gated_activation
from llmrt_kernels.reference.linear import linear
from llmrt_kernels.reference.linear_packed import gated_linear_packed, linear_packed


def route(router_logits: Tensor, num_active: int, *, renormalize: bool = True) -> tuple[Tensor, Tensor]:
    """Choose experts. router_logits [T, E] -> (weights [T, k] fp32, experts [T, k] int64)."""
    weights, experts = torch.topk(router_logits.float().softmax(-1), num_active)
    return weights / weights.sum(-1, keepdim=True) if renormalize else weights, experts


def moe_experts(
    x: Tensor,
    router: Tensor,
    gate_up: Tensor,
    down: Tensor,
    num_active: int,
    residual: Tensor,
    *,
    renormalize: bool = True,
) -> Tensor:
    """Send each token through its experts, and add to the residual stream. x, residual [T, N] -> [T, N].

    router [E, N]; gate_up [E, 2 I, N], gate above up; down [E, N, I].
    """

    def through(expert: int, rows: Tensor) -> Tensor:
        return linear(gated_activation(linear(rows, gate_up[expert], None), "silu"), down[expert], None)

    return residual + _mix(x, route(linear(x, router, None), num_active, renormalize=renormalize), through)


def moe_experts_packed(
    x: Tensor,
    router: Tensor,
    gate_up: Weight,
    down: Weight,
    num_active: int,
    residual: Tensor,
    *,
    renormalize: bool = True,
) -> Tensor:
    """The same with packed weights of one piece, the experts' matrices one above the other in whole blocks.

    Those of ``gate_up`` have their rows ordered as for ``gated_linear_packed``.
    """
    num_experts = len(router)

    def through(expert: int, rows: Tensor) -> Tensor:
        hidden = gated_linear_packed(rows, _one_of(gate_up, expert, num_experts))
        return linear_packed(hidden, _one_of(down, expert, num_experts))

    return residual + _mix(x, route(linear(x, router, None), num_active, renormalize=renormalize), through)


def _one_of(weight: Weight, expert: int, num_experts: int) -> Weight:
    (stack,) = weight.pieces
    data = stack.data.chunk(num_experts)[expert]
    scales, offsets = (t if t is None else t.chunk(num_experts)[expert] for t in (stack.scales, stack.offsets))
    rows = stack.rows // num_experts
    return Weight((Matrix(data, scales, stack.bits, rows, offsets, stack.form),), weight.group)


def _mix(x: Tensor, routing: tuple[Tensor, Tensor], through: Callable[[int, Tensor], Tensor]) -> Tensor:
    weights, experts = routing
    out = torch.zeros_like(x, dtype=torch.float32)
    for expert in experts.unique().tolist():
        token, choice = torch.where(experts == expert)
        y = through(expert, x[token]).float() * weights[token, choice].unsqueeze(-1)
        out.index_add_(0, token, y)
    return out.to(x.dtype)
