"""The argument structs of ``llmrt_cpu.h``, field by field."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import torch
from torch import Tensor

from llmrt_kernels.packed import Codes, Weight

P, I64, I32, F32 = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_float

MAX_PIECES = 4
CACHE_DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.uint8: 3}


def _fields(*kinds: tuple[str, type]) -> list[tuple[str, type]]:
    return [(name, kind) for names, kind in kinds for name in names.split()]


class CodesArgs(ctypes.Structure):
    """``llmrt_codes``."""

    _fields_ = _fields(("codes scales sums", P), ("columns group", I64))

    @classmethod
    def of(cls, x: Codes) -> CodesArgs:
        """The addresses of ``x``."""
        return cls(address(x.codes), address(x.scales), address(x.sums), x.columns, x.group)


class MatrixArgs(ctypes.Structure):
    """``llmrt_matrix``."""

    _fields_ = _fields(("data scales", P), ("rows bits", I64))


class WeightArgs(ctypes.Structure):
    """``llmrt_weight``."""

    _fields_ = _fields(("pieces", MatrixArgs * MAX_PIECES), ("num_pieces rows", I64), ("bias", P))

    @classmethod
    def of(cls, weight: Weight) -> WeightArgs:
        """The addresses of ``weight``."""
        pieces = [MatrixArgs(address(p.data), address(p.scales), p.rows, p.bits) for p in weight.pieces]
        assert len(pieces) <= MAX_PIECES and all(piece.rows % 16 == 0 for piece in weight.pieces[:-1])
        return cls((MatrixArgs * MAX_PIECES)(*pieces), len(pieces), weight.rows, address(weight.bias))


class CacheArgs(ctypes.Structure):
    """``llmrt_cache``."""

    _fields_ = _fields(("k v k_scales v_scales", P), ("kv_heads head_dim block_size dtype", I64))

    @classmethod
    def of(cls, k: Tensor, v: Tensor, k_scales: Tensor | None, v_scales: Tensor | None) -> CacheArgs:
        """The addresses of pages [blocks, KVH, block_size, D]."""
        pages = (address(k), address(v), address(k_scales), address(v_scales))
        return cls(*pages, *k.shape[1:2], k.shape[3], k.shape[2], CACHE_DTYPES[k.dtype])


class EmbeddingArgs(ctypes.Structure):
    """``llmrt_embedding_args``."""

    _fields_ = _fields(("token_ids data scales out", P), ("tokens columns out_columns group", I64))


class RmsNormArgs(ctypes.Structure):
    """``llmrt_rms_norm_args``."""

    _fields_ = _fields(("x weight", P), ("y", CodesArgs), ("tokens size", I64), ("eps", F32))


class QuantizeRowsArgs(ctypes.Structure):
    """``llmrt_quantize_rows_args``."""

    _fields_ = _fields(("x", P), ("y", CodesArgs), ("tokens size", I64))


class LinearArgs(ctypes.Structure):
    """``llmrt_linear_args``."""

    _fields_ = _fields(("x", CodesArgs), ("weight", WeightArgs), ("residual y", P), ("tokens", I64))


class GatedLinearArgs(ctypes.Structure):
    """``llmrt_gated_linear_args``."""

    _fields_ = _fields(("x", CodesArgs), ("weight", WeightArgs), ("y", CodesArgs), ("tokens", I64))


class RotaryLinearArgs(ctypes.Structure):
    """``llmrt_rotary_linear_args``."""

    _fields_ = _fields(
        ("x", CodesArgs),
        ("weight", WeightArgs),
        ("positions cos_sin slot_mapping", P),
        ("cache", CacheArgs),
        ("q", P),
        ("tokens heads", I64),
    )


class RoutingArgs(ctypes.Structure):
    """``llmrt_routing``."""

    _fields_ = _fields(("weights experts rows starts", P), ("tokens num_experts num_active", I64))


class RouteArgs(ctypes.Structure):
    """``llmrt_route_args``."""

    _fields_ = _fields(("x", CodesArgs), ("router", P), ("routing", RoutingArgs), ("y", CodesArgs), ("size", I64))


class ExpertGatedLinearArgs(ctypes.Structure):
    """``llmrt_expert_gated_linear_args``."""

    _fields_ = _fields(("x", CodesArgs), ("weight", WeightArgs), ("routing", RoutingArgs), ("y", CodesArgs))


class ExpertLinearArgs(ctypes.Structure):
    """``llmrt_expert_linear_args``."""

    _fields_ = _fields(("x", CodesArgs), ("weight", WeightArgs), ("routing", RoutingArgs), ("products residual y", P))


class PagedAttentionArgs(ctypes.Structure):
    """``llmrt_paged_attention_args``."""

    _fields_ = _fields(
        ("q", P),
        ("cache", CacheArgs),
        ("block_table cu_seqlens_q seq_lens out partial", P),
        ("codes", CodesArgs),
        ("tokens requests table_width heads max_chunks sliding_window", I64),
        ("scale", F32),
    )


class ArgmaxArgs(ctypes.Structure):
    """``llmrt_argmax_args``."""

    _fields_ = _fields(("x finds out", P), ("tokens size", I64))


class QuantizeArgs(ctypes.Structure):
    """``llmrt_quantize_args``."""

    _fields_ = _fields(
        ("weight importance directions correction data scales", P),
        ("rows columns packed_columns rank dtype", I64),
        ("bits group", I32),
    )


class ReadMemoryArgs(ctypes.Structure):
    """``llmrt_read_memory_args``."""

    _fields_ = _fields(("data", P), ("bytes ahead", I64), ("sums", P))


class MultiplyBytesArgs(ctypes.Structure):
    """``llmrt_multiply_bytes_args``."""

    _fields_ = _fields(("turns chains", I64), ("sums", P))


def address(tensor: Tensor | None) -> int | None:
    """Where a tensor's numbers are; it must be contiguous."""
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    return tensor.data_ptr()


def tensors_of(*operands: Codes | Weight | Tensor | None) -> Iterable[Tensor]:
    """Every tensor whose address is in the arguments made of ``operands``."""
    for operand in operands:
        if isinstance(operand, Tensor):
            yield operand
        elif isinstance(operand, Codes):
            yield from (operand.codes, operand.scales, operand.sums)
        elif operand is not None:
            yield from (t for piece in operand.pieces for t in (piece.data, piece.scales))
            yield from () if operand.bias is None else (operand.bias,)
