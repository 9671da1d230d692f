"""The structs of ``llmrt_layouts.h`` and ``llmrt_cpu.h``, field by field. Free of torch."""

from __future__ import annotations

import ctypes

P, I64, I32, F32 = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_float

MAX_PIECES = 4
FEW_QUERIES, CHUNK_KEYS, MOST_CHUNKS = 16, 1024, 32  # of llmrt_attention_cuts


def _fields(*kinds: tuple[str, type]) -> list[tuple[str, type]]:
    return [(name, kind) for names, kind in kinds for name in names.split()]


class ActivationsArgs(ctypes.Structure):
    """``llmrt_activations``."""

    _fields_ = _fields(("values scales sums q6_k", P), ("columns group dtype", I64))


class MatrixArgs(ctypes.Structure):
    """``llmrt_matrix``."""

    _fields_ = _fields(("data scales offsets", P), ("rows dtype", I64))


class WeightArgs(ctypes.Structure):
    """``llmrt_weight``."""

    _fields_ = _fields(("pieces", MatrixArgs * MAX_PIECES), ("num_pieces rows", I64), ("bias", P))


class CacheArgs(ctypes.Structure):
    """``llmrt_cache``."""

    _fields_ = _fields(
        ("k v k_scales v_scales", P), ("kv_heads head_dim block_size dtype page_stride scale_stride", I64)
    )


class EmbeddingArgs(ctypes.Structure):
    """``llmrt_embedding_args``."""

    _fields_ = _fields(("token_ids", P), ("table", MatrixArgs), ("out", P), ("tokens columns out_columns group", I64))


class RmsNormArgs(ctypes.Structure):
    """``llmrt_rms_norm_args``."""

    _fields_ = _fields(("x weight", P), ("y", ActivationsArgs), ("tokens size", I64), ("eps", F32))


class LayerNormArgs(ctypes.Structure):
    """``llmrt_layer_norm_args``."""

    _fields_ = _fields(("x weight bias", P), ("y", ActivationsArgs), ("tokens size", I64), ("eps", F32))


class RmsNormAddArgs(ctypes.Structure):
    """``llmrt_rms_norm_add_args``."""

    _fields_ = _fields(("x weight residual y", P), ("tokens size", I64), ("eps", F32))


class AddRowsArgs(ctypes.Structure):
    """``llmrt_add_rows_args``."""

    _fields_ = _fields(("x table index y", P), ("tokens size", I64))


class AddScaledArgs(ctypes.Structure):
    """``llmrt_add_scaled_args``."""

    _fields_ = _fields(("x residual y", P), ("tokens size", I64), ("factor", F32))


class StreamNormArgs(ctypes.Structure):
    """``llmrt_stream_norm_args``."""

    _fields_ = _fields(("x weight bias y", P), ("tokens size", I64), ("eps", F32))


class ScaleArgs(ctypes.Structure):
    """``llmrt_scale_args``."""

    _fields_ = _fields(("y", P), ("count", I64), ("factor cap", F32))


class RoundRowsArgs(ctypes.Structure):
    """``llmrt_round_rows_args``."""

    _fields_ = _fields(("x", P), ("y", ActivationsArgs), ("tokens size", I64))


class LinearArgs(ctypes.Structure):
    """``llmrt_linear_args``."""

    _fields_ = _fields(("x", ActivationsArgs), ("weight", WeightArgs), ("residual y", P), ("tokens", I64))


class GatedLinearArgs(ctypes.Structure):
    """``llmrt_gated_linear_args`` and ``llmrt_activated_linear_args``."""

    _fields_ = _fields(
        ("x", ActivationsArgs),
        ("weight", WeightArgs),
        ("y", ActivationsArgs),
        ("tokens activation", I64),
        ("delta", P),
    )


class RotaryLinearArgs(ctypes.Structure):
    """``llmrt_rotary_linear_args``."""

    _fields_ = _fields(
        ("x", ActivationsArgs),
        ("weight", WeightArgs),
        ("positions cos_sin slot_mapping", P),
        ("cache", CacheArgs),
        ("q", P),
        ("tokens heads", I64),
        ("q_norm k_norm", P),
        ("norm_eps", F32),
        ("centred", I64),
        ("delta", P),
    )


class RopeKvWriteArgs(ctypes.Structure):
    """``llmrt_rope_kv_write_args``."""

    _fields_ = _fields(
        ("qkv positions cos_sin slot_mapping", P),
        ("cache", CacheArgs),
        ("q", P),
        ("tokens heads", I64),
        ("q_norm k_norm", P),
        ("norm_eps", F32),
    )


class LowRankArgs(ctypes.Structure):
    """``llmrt_low_rank``."""

    _fields_ = _fields(("a b", MatrixArgs), ("start", I64))


class AdapterArgs(ctypes.Structure):
    """``llmrt_adapter``."""

    _fields_ = _fields(("pieces", LowRankArgs * MAX_PIECES), ("num_pieces", I64))


class LoraArgs(ctypes.Structure):
    """``llmrt_lora_args``. It keeps the table that it is made with."""

    _fields_ = _fields(
        ("x", ActivationsArgs),
        ("adapters", P),
        ("table", ctypes.POINTER(AdapterArgs)),
        ("num_adapters max_rank", I64),
        ("wide", ActivationsArgs),
        ("shrunk residual y", P),
        ("tokens rows", I64),
    )


class RoutingArgs(ctypes.Structure):
    """``llmrt_routing``."""

    _fields_ = _fields(("weights experts rows starts", P), ("tokens num_experts num_active", I64))


class RouteArgs(ctypes.Structure):
    """``llmrt_route_args``."""

    _fields_ = _fields(
        ("x", ActivationsArgs),
        ("router", P),
        ("routing", RoutingArgs),
        ("y", ActivationsArgs),
        ("size renormalize", I64),
    )


class GateRowsArgs(ctypes.Structure):
    """``llmrt_gate_rows_args``."""

    _fields_ = _fields(("x", ActivationsArgs), ("gate", P), ("y", ActivationsArgs), ("tokens size", I64))


class ExpertGatedLinearArgs(ctypes.Structure):
    """``llmrt_expert_gated_linear_args``."""

    _fields_ = _fields(("x", ActivationsArgs), ("weight", WeightArgs), ("routing", RoutingArgs), ("y", ActivationsArgs))


class ExpertLinearArgs(ctypes.Structure):
    """``llmrt_expert_linear_args``."""

    _fields_ = _fields(
        ("x", ActivationsArgs), ("weight", WeightArgs), ("routing", RoutingArgs), ("products residual y", P)
    )


class PagedAttentionArgs(ctypes.Structure):
    """``llmrt_paged_attention_args``."""

    _fields_ = _fields(
        ("q", P),
        ("cache", CacheArgs),
        ("block_table cu_seqlens_q seq_lens out partial", P),
        ("y", ActivationsArgs),
        ("tokens requests table_width heads max_pieces sliding_window", I64),
        ("scale cap", F32),
        ("slopes", P),
    )


class ArgmaxArgs(ctypes.Structure):
    """``llmrt_argmax_args``."""

    _fields_ = _fields(("x finds out", P), ("tokens size", I64))


class SampleArgs(ctypes.Structure):
    """``llmrt_sample_args``."""

    _fields_ = _fields(("x temperature top_k top_p min_p seeds draws out", P), ("tokens size", I64))


class QuantizeArgs(ctypes.Structure):
    """``llmrt_quantize_args``."""

    _fields_ = _fields(
        ("weight importance directions correction data scales", P),
        ("rows columns packed_columns rank dtype", I64),
        ("bits group", I32),
    )


class RepackArgs(ctypes.Structure):
    """``llmrt_repack_args``."""

    _fields_ = _fields(("rows data scales offsets", P), ("blocks columns type", I64))


class ReadMemoryArgs(ctypes.Structure):
    """``llmrt_read_memory_args``."""

    _fields_ = _fields(("data", P), ("bytes ahead", I64), ("sums", P))


class MultiplyArgs(ctypes.Structure):
    """``llmrt_multiply_args``."""

    _fields_ = _fields(("turns chains dtype", I64), ("sums", P))


# By their names in C.
STRUCTS: dict[str, type[ctypes.Structure]] = {
    "llmrt_activated_linear_args": GatedLinearArgs,
    "llmrt_activations": ActivationsArgs,
    "llmrt_adapter": AdapterArgs,
    "llmrt_add_rows_args": AddRowsArgs,
    "llmrt_add_scaled_args": AddScaledArgs,
    "llmrt_argmax_args": ArgmaxArgs,
    "llmrt_cache": CacheArgs,
    "llmrt_embedding_args": EmbeddingArgs,
    "llmrt_expert_gated_linear_args": ExpertGatedLinearArgs,
    "llmrt_expert_linear_args": ExpertLinearArgs,
    "llmrt_gate_rows_args": GateRowsArgs,
    "llmrt_gated_linear_args": GatedLinearArgs,
    "llmrt_layer_norm_args": LayerNormArgs,
    "llmrt_linear_args": LinearArgs,
    "llmrt_lora_args": LoraArgs,
    "llmrt_low_rank": LowRankArgs,
    "llmrt_matrix": MatrixArgs,
    "llmrt_multiply_args": MultiplyArgs,
    "llmrt_paged_attention_args": PagedAttentionArgs,
    "llmrt_quantize_args": QuantizeArgs,
    "llmrt_read_memory_args": ReadMemoryArgs,
    "llmrt_repack_args": RepackArgs,
    "llmrt_rms_norm_add_args": RmsNormAddArgs,
    "llmrt_rms_norm_args": RmsNormArgs,
    "llmrt_rope_kv_write_args": RopeKvWriteArgs,
    "llmrt_rotary_linear_args": RotaryLinearArgs,
    "llmrt_round_rows_args": RoundRowsArgs,
    "llmrt_route_args": RouteArgs,
    "llmrt_routing": RoutingArgs,
    "llmrt_sample_args": SampleArgs,
    "llmrt_scale_args": ScaleArgs,
    "llmrt_stream_norm_args": StreamNormArgs,
    "llmrt_weight": WeightArgs,
}
CONSTANTS = {"LLMRT_FEW_QUERIES": FEW_QUERIES, "LLMRT_CHUNK_KEYS": CHUNK_KEYS, "LLMRT_MOST_CHUNKS": MOST_CHUNKS}
