"""Which experts tokens go to, and the mix of what experts give.

p = softmax(x W_router^T) in fp32; the k largest, ties to the lower index, each divided by the sum of the k if they are
renormalized (https://arxiv.org/abs/2401.04088). What all p are divided by is then left out: it is the same in the k and
in their sum.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.packed import Codes
from llmrt_kernels.triton.codes import values_of
from llmrt_kernels.triton.integers import cdiv, next_power_of_2
from llmrt_kernels.triton.variant import Variant

FEW_PAIRS = 8  # of a token and an expert, up to which sorting them does not pay
VALUES = 8192  # of the router that are read at a time: 64 registers of a thread
MIXED = 1024  # values of a token that a program mixes


def route_codes(x: Codes, router: Tensor, num_active: int, *, renormalize: bool = True) -> tuple[Tensor, Tensor]:
    """x [T, N] in int8, router [E, N] -> (weights [T, k] fp32, experts [T, k] int64)."""
    weights, experts = _room(x.num_tokens, num_active, x.codes.device)
    padded = next_power_of_2(router.shape[0])
    route_codes_kernel[(x.num_tokens,)](
        x.codes,
        x.scales,
        router,
        weights,
        experts,
        SIZE=router.shape[1],
        GROUP=x.group,
        E=router.shape[0],
        EXPERTS=padded,
        CHOICES=num_active,
        COLUMNS=columns_at_once(padded),
        RENORMALIZE=renormalize,
    )
    return weights, experts


def route(logits: Tensor, num_active: int, *, renormalize: bool = True) -> tuple[Tensor, Tensor]:
    """logits [T, E] -> (weights [T, k] fp32, experts [T, k] int64)."""
    tokens, num_experts = logits.shape
    weights, experts = _room(tokens, num_active, logits.device)
    route_kernel[(tokens,)](
        logits,
        weights,
        experts,
        E=num_experts,
        EXPERTS=next_power_of_2(num_experts),
        CHOICES=num_active,
        RENORMALIZE=renormalize,
    )
    return weights, experts


def columns_at_once(experts: int) -> int:
    """Of a router of so many rows, a power of two."""
    return max(16, min(1024, VALUES // experts))


def _room(tokens: int, num_active: int, device: torch.device) -> tuple[Tensor, Tensor]:
    return (
        torch.empty(tokens, num_active, device=device),
        torch.empty(tokens, num_active, dtype=torch.int64, device=device),
    )


def mix(products: Tensor, weights: Tensor, residual: Tensor) -> Tensor:
    """products [T k, N], weights [T, k] -> residual + the weighted sum of each token's pairs, [T, N]."""
    tokens, size = residual.shape
    y = torch.empty_like(residual)
    grid = (tokens, cdiv(size, MIXED))
    mix_kernel[grid](products, weights, residual, y, SIZE=size, CHOICES=weights.shape[1], BLOCK=MIXED)
    return y


@triton.jit
def route_codes_kernel(
    x_ptr,
    x_scales_ptr,
    router_ptr,
    weights_ptr,
    experts_ptr,
    SIZE: tl.constexpr,
    GROUP: tl.constexpr,
    E: tl.constexpr,
    EXPERTS: tl.constexpr,
    CHOICES: tl.constexpr,
    COLUMNS: tl.constexpr,
    RENORMALIZE: tl.constexpr,
):
    """A program routes one token."""
    t = tl.program_id(0).to(tl.int64)
    e = tl.arange(0, EXPERTS)
    sums = tl.zeros([EXPERTS, COLUMNS], tl.float32)
    for start in tl.range(0, SIZE, COLUMNS):
        k = start + tl.arange(0, COLUMNS)
        x = values_of(x_ptr, x_scales_ptr, t, k, SIZE, GROUP)
        inside = (e < E)[:, None] & (k < SIZE)[None, :]
        row = tl.load(router_ptr + e[:, None] * SIZE + k[None, :], mask=inside, other=0.0).to(tl.float32)
        sums += row * x[None, :]
    choose(tl.sum(sums, 1), t, weights_ptr, experts_ptr, E, CHOICES, RENORMALIZE)


@triton.jit
def route_kernel(
    logits_ptr,
    weights_ptr,
    experts_ptr,
    E: tl.constexpr,
    EXPERTS: tl.constexpr,
    CHOICES: tl.constexpr,
    RENORMALIZE: tl.constexpr,
):
    """A program routes one token."""
    t = tl.program_id(0).to(tl.int64)
    e = tl.arange(0, EXPERTS)
    logits = tl.load(logits_ptr + t * E + e, mask=e < E, other=0.0).to(tl.float32)
    choose(logits, t, weights_ptr, experts_ptr, E, CHOICES, RENORMALIZE)


@triton.jit
def choose(logits, t, weights_ptr, experts_ptr, E: tl.constexpr, CHOICES: tl.constexpr, RENORMALIZE: tl.constexpr):
    """The choices of token t (int64) by logits [EXPERTS], of which E are there."""
    e = tl.arange(0, logits.shape[0])
    left = tl.where(e < E, logits, float("-inf"))
    rank = tl.full([logits.shape[0]], CHOICES, tl.int32)
    weight = tl.exp(left - tl.max(left, 0))
    for c in tl.static_range(CHOICES):
        best = tl.argmax(left, 0, tie_break_left=True)
        rank = tl.where(e == best, c, rank)
        left = tl.where(e == best, float("-inf"), left)
    chosen = rank < CHOICES
    at = t * CHOICES + rank
    tl.store(experts_ptr + at, e.to(tl.int64), mask=chosen)
    total = tl.sum(tl.where(chosen, weight, 0.0) if RENORMALIZE else weight, 0)
    tl.store(weights_ptr + at, weight / total, mask=chosen)


@triton.jit
def mix_kernel(
    products_ptr, weights_ptr, residual_ptr, y_ptr, SIZE: tl.constexpr, CHOICES: tl.constexpr, BLOCK: tl.constexpr
):
    """A program sums BLOCK values of a token, in the order of its choices."""
    t = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(residual_ptr + t * SIZE + i, mask=i < SIZE, other=0.0).to(tl.float32)
    for c in tl.static_range(CHOICES):
        pair = t * CHOICES + c
        product = tl.load(products_ptr + pair * SIZE + i, mask=i < SIZE, other=0.0).to(tl.float32)
        total += tl.load(weights_ptr + pair) * product
    tl.store(y_ptr + t * SIZE + i, total.to(y_ptr.dtype.element_ty), mask=i < SIZE)


VARIANTS = (
    Variant(
        "route_codes-8_experts",
        route_codes_kernel,
        {"x_ptr": "*i8", "x_scales_ptr": "*fp32", "router_ptr": "*bf16", "weights_ptr": "*fp32", "experts_ptr": "*i64"},
        {"SIZE": 4096, "GROUP": 64, "E": 8, "EXPERTS": 8, "CHOICES": 2, "RENORMALIZE": True}
        | {"COLUMNS": columns_at_once(8)},
    ),
)
