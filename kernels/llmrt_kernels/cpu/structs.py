"""The structs of ``llmrt_layouts.h`` and ``llmrt_cpu.h``, field by field."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from llmrt_kernels.layout import FORMS
from llmrt_kernels.low_rank import LowRank
from llmrt_kernels.packed import BLOCK, Codes, Matrix, Rows, Weight

P, I64, I32, F32 = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_float

MAX_PIECES = 4
# llmrt_dtype; uint8 holds what only its kernels know the order of.
DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.int8: 3, torch.uint8: 3}
INT4 = 4
# llmrt_activation.
ACTIVATIONS = {"silu": 0, "relu": 1, "gelu": 2, "gelu_tanh": 3}


def _fields(*kinds: tuple[str, type]) -> list[tuple[str, type]]:
    return [(name, kind) for names, kind in kinds for name in names.split()]


class ActivationsArgs(ctypes.Structure):
    """``llmrt_activations``."""

    _fields_ = _fields(("values scales sums q6_k", P), ("columns group dtype", I64))

    @classmethod
    def of(cls, x: Codes | Rows) -> ActivationsArgs:
        """The addresses of ``x``."""
        if isinstance(x, Rows):
            return cls(address(x.values), None, None, None, x.columns, BLOCK, DTYPES[x.values.dtype])
        pointers = map(address, (x.codes, x.scales, x.sums, x.q6_k))
        return cls(*pointers, x.columns, x.group, DTYPES[torch.int8])


class MatrixArgs(ctypes.Structure):
    """``llmrt_matrix``."""

    _fields_ = _fields(("data scales offsets", P), ("rows dtype", I64))

    @classmethod
    def of(cls, matrix: Matrix) -> MatrixArgs:
        """The addresses of ``matrix``."""
        return cls(*map(address, (matrix.data, matrix.scales, matrix.offsets)), matrix.rows, _dtype_of(matrix))


def _dtype_of(matrix: Matrix) -> int:
    if matrix.form is not None:
        return FORMS[matrix.form].dtype
    return INT4 if matrix.bits == 4 else DTYPES[matrix.data.dtype]


class WeightArgs(ctypes.Structure):
    """``llmrt_weight``."""

    _fields_ = _fields(("pieces", MatrixArgs * MAX_PIECES), ("num_pieces rows", I64), ("bias", P))

    @classmethod
    def of(cls, weight: Weight) -> WeightArgs:
        """The addresses of ``weight``."""
        pieces = [MatrixArgs.of(piece) for piece in weight.pieces]
        assert len(pieces) <= MAX_PIECES and all(piece.rows % 16 == 0 for piece in weight.pieces[:-1])
        return cls((MatrixArgs * MAX_PIECES)(*pieces), len(pieces), weight.rows, address(weight.bias))


class CacheArgs(ctypes.Structure):
    """``llmrt_cache``."""

    _fields_ = _fields(
        ("k v k_scales v_scales", P), ("kv_heads head_dim block_size dtype page_stride scale_stride", I64)
    )

    @classmethod
    def of(cls, k: Tensor, v: Tensor, k_scales: Tensor | None, v_scales: Tensor | None) -> CacheArgs:
        """The addresses of pages [blocks, KVH, block_size, D], each whole, all as far from the next."""
        pages = [page_address(pages) for pages in (k, v, k_scales, v_scales)]
        assert k.stride() == v.stride()
        _, kv_heads, block_size, head_dim = k.shape
        scale_stride = 0 if k_scales is None else k_scales.stride(1)
        return cls(*pages, kv_heads, head_dim, block_size, DTYPES[k.dtype], k.stride(1), scale_stride)


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

    @classmethod
    def of(cls, pieces: Sequence[LowRank]) -> AdapterArgs:
        """The addresses of what an adapter adds to one product."""
        assert len(pieces) <= MAX_PIECES and all(piece.b.rows % 16 == 0 for piece in pieces)
        ranks = [LowRankArgs(MatrixArgs.of(piece.a), MatrixArgs.of(piece.b), piece.start) for piece in pieces]
        return cls((LowRankArgs * MAX_PIECES)(*ranks), len(pieces))


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


def address(tensor: Tensor | None) -> int | None:
    """Where a tensor's numbers are; it must be contiguous."""
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    return tensor.data_ptr()


def page_address(pages: Tensor | None) -> int | None:
    """Where the first of ``pages`` [blocks, KVH, ...] is; from each to the next it must be the same distance."""
    if pages is None:
        return None
    assert pages[0, 0].is_contiguous() and pages.stride(0) == pages.shape[1] * pages.stride(1)
    return pages.data_ptr()


def tensors_of(*operands: Codes | Rows | Weight | Tensor | None) -> Iterable[Tensor]:
    """Every tensor whose address is in the arguments made of ``operands``."""
    for operand in operands:
        if isinstance(operand, Tensor):
            yield operand
        elif isinstance(operand, Codes):
            yield from (operand.codes, operand.scales, operand.sums)
            if operand.q6_k is not None:
                yield operand.q6_k
        elif isinstance(operand, Rows):
            yield operand.values
        elif operand is not None:
            held = [t for piece in operand.pieces for t in (piece.data, piece.scales, piece.offsets)]
            yield from (t for t in (*held, operand.bias) if t is not None)
