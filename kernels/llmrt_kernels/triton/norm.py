"""Norms of rows, in fp32: as a tensor, or rounded to int8 for the product that follows.

RMSNorm    y = x / sqrt(mean(x^2) + eps) * w
LayerNorm  y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * w + b

One program a row, which it holds in registers as [GROUPS, GROUP]; for a tensor that is one group.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.packed import Codes
from llmrt_kernels.triton.codes import empty_codes, store_codes
from llmrt_kernels.triton.integers import cdiv, next_power_of_2
from llmrt_kernels.triton.overlap import begin, overlap, wait
from llmrt_kernels.triton.target import target_of
from llmrt_kernels.triton.variant import Variant

VALUES_A_WARP = 512


def rms_norm(x: Tensor, weight: Tensor, eps: float, group: int = 0) -> Tensor | Codes:
    """Normalise each row of x [T, N] by weight [N]: [T, N] of x's dtype, or with a ``group`` its codes."""
    return _normalised(x, weight, None, eps, group)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, group: int = 0) -> Tensor | Codes:
    """The same by mean and variance, with a bias [N]."""
    return _normalised(x, weight, bias, eps, group)


def rms_norm_add(x: Tensor, weight: Tensor, eps: float, residual: Tensor) -> Tensor:
    """residual + norm(x), [T, N] of the residual's dtype."""
    y = torch.empty_like(residual)
    _launch(x, weight, None, residual, (y, None, None), eps)
    return y


def _normalised(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, group: int) -> Tensor | Codes:
    if group == 0:
        y = torch.empty_like(x)
        _launch(x, weight, bias, None, (y, None, None), eps)
        return y
    codes = empty_codes(*x.shape, group, x.device)
    _launch(x, weight, bias, None, codes.tensors, eps, group)
    return codes


def _launch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    y: tuple[Tensor, Tensor | None, Tensor | None],
    eps: float,
    group: int = 0,
) -> None:
    tokens, size = x.shape
    groups = next_power_of_2(cdiv(size, group)) if group else 1
    width = group or next_power_of_2(size)
    warps = min(max(groups * width // VALUES_A_WARP, 1), 16)
    sizes = {"SIZE": size, "GROUPS": groups, "GROUP": width}
    norm_kernel[(tokens,)](x, weight, bias, residual, *y, eps, **sizes, **overlap(target_of(x.device)), num_warps=warps)


@triton.jit
def norm_kernel(
    x_ptr,
    weight_ptr,
    bias_ptr,
    residual_ptr,
    y_ptr,
    scales_ptr,
    sums_ptr,
    eps,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """LayerNorm if there is a bias. ``y_ptr`` is the tensor's, or the codes' if there are scales."""
    begin(OVERLAP)
    t = tl.program_id(0).to(tl.int64)
    g = tl.arange(0, GROUPS)
    at = g[:, None] * GROUP + tl.arange(0, GROUP)[None, :]
    inside = at < SIZE
    weight = tl.load(weight_ptr + at, mask=inside, other=0.0).to(tl.float32)
    wait(OVERLAP)
    x = tl.load(x_ptr + t * SIZE + at, mask=inside, other=0.0).to(tl.float32)
    if bias_ptr is not None:
        x = tl.where(inside, x - mean_of(x, SIZE), 0.0)
    y = x * tl.div_rn(1.0, tl.sqrt_rn(mean_of(x * x, SIZE) + eps)) * weight
    if bias_ptr is not None:
        y += tl.load(bias_ptr + at, mask=inside, other=0.0).to(tl.float32)
    if residual_ptr is not None:
        y += tl.load(residual_ptr + t * SIZE + at, mask=inside, other=0.0).to(tl.float32)
    if scales_ptr is not None:
        store_codes(y, t, g, y_ptr, scales_ptr, sums_ptr, (SIZE + GROUP - 1) // GROUP)
    else:
        tl.store(y_ptr + t * SIZE + at, y.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def mean_of(x, SIZE: tl.constexpr):
    """The mean of x [GROUPS, GROUP], of which SIZE values count and the others are 0."""
    return tl.sum(tl.sum(x, 1), 0) / SIZE


_CODES = {"y_ptr": "*i8", "scales_ptr": "*fp32", "sums_ptr": "*i32"}


def _variant(name: str, groups: int, **pointers: str) -> Variant:
    signature = {"weight_ptr": "*bf16", "eps": "fp32", **pointers}
    sizes = {"SIZE": 4096, "GROUPS": groups, "GROUP": 4096 // groups}
    return Variant(name, norm_kernel, signature, sizes, num_warps=8)


VARIANTS = (
    _variant("layer_norm-bf16-codes", 64, x_ptr="*bf16", bias_ptr="*bf16", **_CODES),
    _variant("rms_norm_add-fp32-bf16", 1, x_ptr="*fp32", residual_ptr="*bf16", y_ptr="*bf16"),
)
