"""RMSNorm: y = x / sqrt(mean(x^2) + eps) * w, in fp32, as a tensor or rounded to int8 for the product that follows.

One program a row, which it holds in registers as [GROUPS, GROUP]; for a tensor that is one group.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.packed import Codes
from llmrt_kernels.triton.codes import empty_codes, store_codes
from llmrt_kernels.triton.variant import Variant

VALUES_A_WARP = 512


def rms_norm(x: Tensor, weight: Tensor, eps: float, group: int = 0) -> Tensor | Codes:
    """Normalise each row of x [T, N] by weight [N]: [T, N] of x's dtype, or with a ``group`` its codes."""
    tokens, size = x.shape
    groups = triton.next_power_of_2(triton.cdiv(size, group)) if group else 1
    width = group or triton.next_power_of_2(size)
    sizes = {"SIZE": size, "GROUPS": groups, "GROUP": width, "QUANTIZE": group > 0, "num_warps": _warps(groups * width)}
    if group == 0:
        y = torch.empty_like(x)
        rms_norm_kernel[(tokens,)](x, weight, y, None, None, eps, **sizes)
        return y
    codes = empty_codes(tokens, size, group, x.device)
    rms_norm_kernel[(tokens,)](x, weight, codes.codes, codes.scales, codes.sums, eps, **sizes)
    return codes


def _warps(values: int) -> int:
    return min(max(values // VALUES_A_WARP, 1), 16)


@triton.jit
def rms_norm_kernel(
    x_ptr,
    weight_ptr,
    y_ptr,
    scales_ptr,
    sums_ptr,
    eps,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
    QUANTIZE: tl.constexpr,
):
    """``y_ptr`` is the tensor's or the codes'."""
    t = tl.program_id(0).to(tl.int64)
    g = tl.arange(0, GROUPS)
    at = g[:, None] * GROUP + tl.arange(0, GROUP)[None, :]
    inside = at < SIZE
    x = tl.load(x_ptr + t * SIZE + at, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + at, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(tl.sum(x * x, 1), 0) / SIZE
    y = x * tl.div_rn(1.0, tl.sqrt_rn(mean + eps)) * weight
    if QUANTIZE:
        store_codes(y, t, g, y_ptr, scales_ptr, sums_ptr, (SIZE + GROUP - 1) // GROUP)
    else:
        tl.store(y_ptr + t * SIZE + at, y.to(y_ptr.dtype.element_ty), mask=inside)


VARIANTS = (
    Variant(
        "rms_norm-bf16",
        rms_norm_kernel,
        {"x_ptr": "*bf16", "weight_ptr": "*bf16", "y_ptr": "*bf16", "eps": "fp32"},
        {"scales_ptr": None, "sums_ptr": None, "SIZE": 4096, "GROUPS": 1, "GROUP": 4096, "QUANTIZE": False},
        num_warps=8,
    ),
    Variant(
        "rms_norm-bf16-codes",
        rms_norm_kernel,
        {
            "x_ptr": "*bf16",
            "weight_ptr": "*fp32",
            "y_ptr": "*i8",
            "scales_ptr": "*fp32",
            "sums_ptr": "*i32",
            "eps": "fp32",
        },
        {"SIZE": 4096, "GROUPS": 64, "GROUP": 64, "QUANTIZE": True},
        num_warps=8,
    ),
)
