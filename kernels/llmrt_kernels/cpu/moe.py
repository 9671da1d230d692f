"""A mixture of experts with packed weights. The contract is the reference's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llmrt_kernels.cpu.addresses import activations_args, address, weight_args
from llmrt_kernels.cpu.linear import empty_like
from llmrt_kernels.cpu.structs import ExpertGatedLinearArgs, ExpertLinearArgs, RouteArgs, RoutingArgs
from llmrt_kernels.cpu.tape import submit
from llmrt_kernels.packed import Codes, Rows, Weight


@dataclass(frozen=True)
class Routing:
    """Where tokens go: T k pairs of a token and an expert, which have rows sorted by expert.

    ``weights`` [T, k] fp32; ``experts`` and ``rows`` [T, k] int64, each pair's expert and row; ``starts`` [E + 1]
    int64, each expert's first row.
    """

    weights: Tensor
    experts: Tensor
    rows: Tensor
    starts: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return self.weights, self.experts, self.rows, self.starts

    @property
    def args(self) -> RoutingArgs:
        """Their addresses."""
        return RoutingArgs(*map(address, self.tensors), len(self.weights), len(self.starts) - 1, self.weights.shape[1])


def moe_experts(
    x: Codes | Rows,
    router: Tensor,
    gate_up: Weight,
    down: Weight,
    num_active: int,
    residual: Tensor,
    *,
    renormalize: bool = True,
) -> Tensor:
    """x [T, N], router [E, N] fp32, residual [T, N] fp32 -> [T, N] fp32."""
    routing, pairs = route(x, router, num_active, renormalize=renormalize)
    return expert_linear(expert_gated_linear(pairs, gate_up, routing), down, routing, residual)


def route(
    x: Codes | Rows, router: Tensor, num_active: int, *, renormalize: bool = True
) -> tuple[Routing, Codes | Rows]:
    """The choices of each token, and the tokens of the sorted pairs, [T k, N]."""
    num_experts, size = router.shape
    weights = torch.empty(x.num_tokens, num_active)
    experts, rows = (torch.empty(x.num_tokens, num_active, dtype=torch.int64) for _ in range(2))
    routing = Routing(weights, experts, rows, torch.empty(num_experts + 1, dtype=torch.int64))
    pairs = empty_like(x, x.num_tokens * num_active, size)
    args = RouteArgs(activations_args(x), address(router), routing.args, activations_args(pairs), size, renormalize)
    submit("route", args, x, router, *routing.tensors, pairs)
    return routing, pairs


def expert_gated_linear(pairs: Codes | Rows, weight: Weight, routing: Routing) -> Codes | Rows:
    """The first half of SwiGLU of each pair by its expert. pairs [T k, N] -> [T k, I]."""
    size = weight.rows // (len(routing.starts) - 1) // 2
    y = empty_like(pairs, pairs.num_tokens, size)
    args = ExpertGatedLinearArgs(activations_args(pairs), weight_args(weight), routing.args, activations_args(y))
    submit("expert_gated_linear", args, pairs, weight, *routing.tensors, y)
    return y


def expert_linear(pairs: Codes | Rows, weight: Weight, routing: Routing, residual: Tensor) -> Tensor:
    """The second half, the weighted sum of each token's pairs, and the residual. pairs [T k, I] -> [T, N]."""
    products, y = torch.empty(pairs.num_tokens, residual.shape[1]), torch.empty_like(residual)
    args = ExpertLinearArgs(
        activations_args(pairs), weight_args(weight), routing.args, address(products), address(residual), address(y)
    )
    submit("expert_linear", args, pairs, weight, *routing.tensors, products, residual, y)
    return y
