"""Products with packed int4 and int8 weights, and what is computed on the way in and out of them."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.structs import (
    CacheArgs,
    CodesArgs,
    EmbeddingArgs,
    GatedLinearArgs,
    LinearArgs,
    QuantizeRowsArgs,
    RmsNormArgs,
    RotaryLinearArgs,
    WeightArgs,
    address,
)
from llmrt_kernels.cpu.tape import submit
from llmrt_kernels.packed import Codes, Weight

PAD = 64  # bytes between two tokens' codes


def empty_codes(tokens: int, size: int, group: int) -> Codes:
    """Room for ``tokens`` rows of ``size`` values."""
    groups = -(-size // group)
    return Codes(
        torch.empty(tokens, groups * group + PAD, dtype=torch.int8),
        torch.empty(tokens, groups),
        torch.empty(tokens, groups, dtype=torch.int32),
        group,
    )


def quantize_rows(x: Tensor, group: int) -> Codes:
    """x [T, N] fp32 to int8, a scale for each ``group`` values."""
    codes = empty_codes(x.shape[0], x.shape[1], group)
    submit("quantize_rows", QuantizeRowsArgs(address(x), CodesArgs.of(codes), *x.shape), x, codes)
    return codes


def rms_norm(x: Tensor, weight: Tensor, eps: float, group: int) -> Codes:
    """x [T, N] fp32, weight [N] fp32 -> the normalised rows in int8."""
    codes = empty_codes(x.shape[0], x.shape[1], group)
    submit("rms_norm", RmsNormArgs(address(x), address(weight), CodesArgs.of(codes), *x.shape, eps), x, weight, codes)
    return codes


def linear(x: Codes, weight: Weight, residual: Tensor | None = None) -> Tensor:
    """x [T, K] -> x W^T + bias + residual [T, N] fp32."""
    y = torch.empty(x.num_tokens, weight.rows)
    args = LinearArgs(CodesArgs.of(x), WeightArgs.of(weight), address(residual), address(y), x.num_tokens)
    submit("linear", args, x, weight, residual, y)
    return y


def gated_linear(x: Codes, weight: Weight) -> Codes:
    """x [T, K], weight [2 I, K], rows ordered as in the reference -> silu(gate) * up, [T, I] in int8."""
    y = empty_codes(x.num_tokens, weight.rows // 2, x.group)
    args = GatedLinearArgs(CodesArgs.of(x), WeightArgs.of(weight), CodesArgs.of(y), x.num_tokens)
    submit("gated_linear", args, x, weight, y)
    return y


def rotary_linear(
    x: Codes,
    weight: Weight,
    positions: Tensor,
    cos_sin: Tensor,
    slot_mapping: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k_scales: Tensor | None,
    v_scales: Tensor | None,
) -> Tensor:
    """x [T, K] -> rotated queries [T, H, D] fp32; keys and values go to the cache."""
    _, kv_heads, _, head_dim = k_cache.shape
    heads = weight.rows // head_dim - 2 * kv_heads
    q = torch.empty(x.num_tokens, heads, head_dim)
    args = RotaryLinearArgs(
        CodesArgs.of(x),
        WeightArgs.of(weight),
        address(positions),
        address(cos_sin),
        address(slot_mapping),
        CacheArgs.of(k_cache, v_cache, k_scales, v_scales),
        address(q),
        x.num_tokens,
        heads,
    )
    submit("rotary_linear", args, x, weight, positions, cos_sin, slot_mapping, k_cache, v_cache, k_scales, v_scales, q)
    return q


def embedding(token_ids: Tensor, table: Weight, hidden_size: int) -> Tensor:
    """Rows of an int8 table. token_ids [T] int64 -> [T, hidden_size] fp32."""
    (matrix,) = table.pieces
    assert matrix.bits == 8
    out = torch.empty(token_ids.shape[0], hidden_size)
    columns = matrix.scales.shape[1] * table.group
    args = EmbeddingArgs(
        address(token_ids),
        address(matrix.data),
        address(matrix.scales),
        address(out),
        token_ids.shape[0],
        columns,
        hidden_size,
        table.group,
    )
    submit("embedding", args, token_ids, table, out)
    return out
