"""The argument structs of ``llmrt_cpu.h``, field by field."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import torch
from torch import Tensor

P, I64, I32, F32 = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_float

CACHE_DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


def _fields(kinds: Iterable[tuple[type, str]]) -> list[tuple[str, type]]:
    return [(name, kind) for kind, names in kinds for name in names.split()]


class LinearArgs(ctypes.Structure):
    """``llmrt_linear_args``."""

    _fields_ = _fields(
        [
            (P, "x y data scales zeros bias codes code_scales code_sums"),
            (I64, "tokens x_stride x_columns columns rows y_stride"),
            (I32, "bits group"),
        ]
    )


class EmbeddingArgs(ctypes.Structure):
    """``llmrt_embedding_args``."""

    _fields_ = _fields([(P, "token_ids data scales out"), (I64, "tokens columns out_columns"), (I32, "group")])


class AddRmsNormArgs(ctypes.Structure):
    """``llmrt_add_rms_norm_args``."""

    _fields_ = _fields([(P, "x residual weight normed total"), (I64, "tokens size"), (F32, "eps")])


class SiluMulArgs(ctypes.Structure):
    """``llmrt_silu_mul_args``."""

    _fields_ = _fields([(P, "gate_up y"), (I64, "tokens size")])


class RopeKvWriteArgs(ctypes.Structure):
    """``llmrt_rope_kv_write_args``."""

    _fields_ = _fields(
        [
            (P, "qkv positions cos_sin slot_mapping k_cache v_cache q"),
            (I64, "tokens heads kv_heads head_dim block_size"),
            (I32, "cache_dtype"),
        ]
    )


class PagedAttentionArgs(ctypes.Structure):
    """``llmrt_paged_attention_args``."""

    _fields_ = _fields(
        [
            (P, "q k_cache v_cache block_table cu_seqlens_q seq_lens out partial"),
            (I64, "requests table_width heads kv_heads head_dim block_size max_chunks sliding_window"),
            (F32, "scale"),
            (I32, "cache_dtype"),
        ]
    )


class QuantizeArgs(ctypes.Structure):
    """``llmrt_quantize_args``."""

    _fields_ = _fields([(P, "weight data scales"), (I64, "rows columns packed_columns"), (I32, "bits group")])


def address(tensor: Tensor | None) -> int | None:
    """Where a tensor's numbers are; it must be contiguous."""
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    return tensor.data_ptr()
