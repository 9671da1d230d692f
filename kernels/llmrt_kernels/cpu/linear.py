"""Products with packed weights, and what is computed on the way in and out of them.

Weights that are quantized take ``Codes``, the others ``Rows``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.addresses import ACTIVATIONS, activations_args, address, cache_args, matrix_args, weight_args
from llmrt_kernels.cpu.structs import (
    EmbeddingArgs,
    GatedLinearArgs,
    GateRowsArgs,
    LayerNormArgs,
    LinearArgs,
    RmsNormAddArgs,
    RmsNormArgs,
    RopeKvWriteArgs,
    RotaryLinearArgs,
    RoundRowsArgs,
    ScaleArgs,
)
from llmrt_kernels.cpu.tape import submit
from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.packed import ROW_PAD, Codes, Rows, Weight


def empty_codes(tokens: int, size: int, group: int) -> Codes:
    """Room for ``tokens`` rows of ``size`` values."""
    groups = -(-size // group)
    return Codes(
        torch.empty(tokens, groups * group + ROW_PAD, dtype=torch.int8),
        torch.empty(tokens, groups),
        torch.empty(tokens, groups, dtype=torch.int32),
        group,
        torch.empty(tokens, groups, 2, dtype=torch.int32),
    )


def empty_rows(tokens: int, size: int, dtype: torch.dtype) -> Rows:
    """The same for rows of floats."""
    return Rows(torch.empty(tokens, size + ROW_PAD // dtype.itemsize, dtype=dtype))


def empty_activations(tokens: int, size: int, group: int, dtype: torch.dtype) -> Codes | Rows:
    """Codes with a scale for each ``group`` values, or rows of ``dtype`` where that is 0."""
    return empty_codes(tokens, size, group) if group else empty_rows(tokens, size, dtype)


def empty_like(x: Codes | Rows, tokens: int, size: int) -> Codes | Rows:
    """Room for activations of the kind of ``x``."""
    return empty_codes(tokens, size, x.group) if isinstance(x, Codes) else empty_rows(tokens, size, x.values.dtype)


def quantize_rows(x: Tensor, group: int) -> Codes:
    """x [T, N] fp32 to int8, a scale for each ``group`` values."""
    codes = empty_codes(x.shape[0], x.shape[1], group)
    submit("round_rows", RoundRowsArgs(address(x), activations_args(codes), *x.shape), x, codes)
    return codes


def round_rows(x: Tensor, dtype: torch.dtype) -> Rows:
    """x [T, N] fp32 as rows of ``dtype``."""
    rows = empty_rows(x.shape[0], x.shape[1], dtype)
    submit("round_rows", RoundRowsArgs(address(x), activations_args(rows), *x.shape), x, rows)
    return rows


def stream_rows(x: Tensor, group: int, dtype: torch.dtype = torch.float32) -> Codes | Rows:
    """x [T, N] fp32 as a product takes it: in int8, or in ``dtype`` where ``group`` is 0."""
    return quantize_rows(x, group) if group else round_rows(x, dtype)


def rms_norm(x: Tensor, weight: Tensor, eps: float, group: int, dtype: torch.dtype = torch.float32) -> Codes | Rows:
    """x [T, N] fp32, weight [N] fp32 -> the normalised rows in int8, or in ``dtype`` where ``group`` is 0."""
    y = empty_activations(x.shape[0], x.shape[1], group, dtype)
    submit("rms_norm", RmsNormArgs(address(x), address(weight), activations_args(y), *x.shape, eps), x, weight, y)
    return y


def layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, group: int, dtype: torch.dtype = torch.float32
) -> Codes | Rows:
    """x [T, N] fp32, weight and bias [N] fp32 -> as ``rms_norm``."""
    y = empty_activations(x.shape[0], x.shape[1], group, dtype)
    pointers = map(address, (x, weight, bias))
    submit("layer_norm", LayerNormArgs(*pointers, activations_args(y), *x.shape, eps), x, weight, bias, y)
    return y


def rms_norm_add(x: Tensor, weight: Tensor, eps: float, residual: Tensor) -> Tensor:
    """x, residual [T, N] fp32, weight [N] fp32 -> residual + norm(x)."""
    y = torch.empty_like(x)
    tensors = x, weight, residual, y
    submit("rms_norm_add", RmsNormAddArgs(*map(address, tensors), *x.shape, eps), *tensors)
    return y


def scale(x: Tensor, factor: float, cap: float = 0.0) -> Tensor:
    """x [T, N] fp32 -> itself, multiplied and capped where it is."""
    submit("scale", ScaleArgs(address(x), x.numel(), factor, cap), x)
    return x


def linear(x: Codes | Rows, weight: Weight, residual: Tensor | None = None) -> Tensor:
    """x [T, K] -> x W^T + bias + residual [T, N] fp32."""
    y = torch.empty(x.num_tokens, weight.rows)
    args = LinearArgs(activations_args(x), weight_args(weight), address(residual), address(y), x.num_tokens)
    submit("linear", args, x, weight, residual, y)
    return y


def gated_linear(x: Codes | Rows, weight: Weight, name: str = "silu", *, delta: Tensor | None = None) -> Codes | Rows:
    """x [T, K], weight [2 I, K], rows ordered as in the reference -> activation(gate) * up, [T, I] of the kind of x."""
    return _activated("gated_linear", x, weight, weight.rows // 2, name, delta)


def activated_linear(x: Codes | Rows, weight: Weight, name: str, *, delta: Tensor | None = None) -> Codes | Rows:
    """x [T, K], weight [I, K] -> activation(x W^T + bias + delta), [T, I] of the kind of x."""
    return _activated("activated_linear", x, weight, weight.rows, name, delta)


def _activated(op: str, x: Codes | Rows, weight: Weight, size: int, name: str, delta: Tensor | None) -> Codes | Rows:
    y = empty_like(x, x.num_tokens, size)
    operands = activations_args(x), weight_args(weight), activations_args(y)
    args = GatedLinearArgs(*operands, x.num_tokens, ACTIVATIONS[name], address(delta))
    submit(op, args, x, weight, y, delta)
    return y


def gate_rows(x: Codes | Rows, gate: Tensor, h: Codes | Rows) -> Codes | Rows:
    """x [T, N], gate [1, N] fp32, h [T, I] -> ``h``, each row multiplied by sigmoid(x g^T)."""
    args = GateRowsArgs(activations_args(x), address(gate), activations_args(h), x.num_tokens, gate.shape[1])
    submit("gate_rows", args, x, gate, h)
    return h


def rotary_linear(
    x: Codes | Rows,
    weight: Weight,
    positions: Tensor,
    cos_sin: Tensor,
    slot_mapping: Tensor,
    kv: LayerKVCache,
    head_norm: HeadNorm | None = None,
    *,
    delta: Tensor | None = None,
) -> Tensor:
    """x [T, K] -> rotated queries [T, H, D] fp32; keys and values go to the cache."""
    _, kv_heads, _, head_dim = kv.k.shape
    if head_norm is not None and head_norm.q.numel() > head_dim and not head_norm.centred:
        qkv = linear(x, weight, delta)
        return _rope_kv_write(qkv, positions, cos_sin, slot_mapping, kv, head_norm)
    heads = weight.rows // head_dim - 2 * kv_heads
    q = torch.empty(x.num_tokens, heads, head_dim)
    args = RotaryLinearArgs(
        activations_args(x),
        weight_args(weight),
        address(positions),
        address(cos_sin),
        address(slot_mapping),
        cache_args(kv),
        address(q),
        x.num_tokens,
        heads,
        delta=address(delta),
    )
    norms = ()
    if head_norm is not None:
        norms = (head_norm.q, head_norm.k)
        args.q_norm, args.k_norm = map(address, norms)
        args.norm_eps, args.centred = head_norm.eps, head_norm.centred
    submit("rotary_linear", args, x, weight, positions, cos_sin, slot_mapping, kv, q, *norms, delta)
    return q


def _rope_kv_write(
    qkv: Tensor,
    positions: Tensor,
    cos_sin: Tensor,
    slot_mapping: Tensor,
    kv: LayerKVCache,
    head_norm: HeadNorm,
) -> Tensor:
    """The rest for a norm of all heads at once, which takes the whole product."""
    _, kv_heads, _, head_dim = kv.k.shape
    q = torch.empty(qkv.shape[0], qkv.shape[1] // head_dim - 2 * kv_heads, head_dim)
    args = RopeKvWriteArgs(
        *map(address, (qkv, positions, cos_sin, slot_mapping)),
        cache_args(kv),
        address(q),
        *q.shape[:2],
        *map(address, (head_norm.q, head_norm.k)),
        head_norm.eps,
    )
    operands = qkv, positions, cos_sin, slot_mapping, kv, q, head_norm.q, head_norm.k
    submit("rope_kv_write", args, *operands)
    return q


def embedding(token_ids: Tensor, table: Weight, hidden_size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows of a table. token_ids [T] int64 -> [T, hidden_size] fp32."""
    assert dtype == torch.float32
    (matrix,) = table.pieces
    out = torch.empty(token_ids.shape[0], hidden_size)
    columns = hidden_size if matrix.scales is None else matrix.columns
    args = EmbeddingArgs(
        address(token_ids),
        matrix_args(matrix),
        address(out),
        token_ids.shape[0],
        columns,
        hidden_size,
        table.group,
    )
    submit("embedding", args, token_ids, table, out)
    return out
