"""The structs that point to tensors, made of the records that kernels take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from llmrt_kernels.cpu.structs import (
    MAX_PIECES,
    ActivationsArgs,
    AdapterArgs,
    CacheArgs,
    LowRankArgs,
    MatrixArgs,
    WeightArgs,
)
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.layout import FORMS
from llmrt_kernels.low_rank import LowRank
from llmrt_kernels.packed import BLOCK, Codes, Matrix, Rows, Weight

# llmrt_dtype; uint8 holds what only its kernels know the order of.
DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.int8: 3, torch.uint8: 3}
INT4 = 4
# llmrt_activation.
ACTIVATIONS = {"silu": 0, "relu": 1, "gelu": 2, "gelu_tanh": 3}


def activations_args(x: Codes | Rows) -> ActivationsArgs:
    """The addresses of ``x``."""
    if isinstance(x, Rows):
        return ActivationsArgs(address(x.values), None, None, None, x.columns, BLOCK, DTYPES[x.values.dtype])
    pointers = map(address, (*x.tensors, x.q6_k))
    return ActivationsArgs(*pointers, x.columns, x.group, DTYPES[torch.int8])


def matrix_args(matrix: Matrix) -> MatrixArgs:
    """The addresses of ``matrix``."""
    return MatrixArgs(*map(address, matrix.tensors), matrix.rows, _dtype_of(matrix))


def _dtype_of(matrix: Matrix) -> int:
    if matrix.form is not None:
        return FORMS[matrix.form].dtype
    return INT4 if matrix.bits == 4 else DTYPES[matrix.data.dtype]


def weight_args(weight: Weight) -> WeightArgs:
    """The addresses of ``weight``."""
    pieces = [matrix_args(piece) for piece in weight.pieces]
    assert len(pieces) <= MAX_PIECES and all(piece.rows % 16 == 0 for piece in weight.pieces[:-1])
    return WeightArgs((MatrixArgs * MAX_PIECES)(*pieces), len(pieces), weight.rows, address(weight.bias))


def cache_args(kv: LayerKVCache) -> CacheArgs:
    """The addresses of pages, each whole, all as far from the next."""
    pages = [page_address(pages) for pages in (kv.k, kv.v, kv.k_scales, kv.v_scales)]
    assert kv.k.stride() == kv.v.stride()
    _, kv_heads, block_size, head_dim = kv.k.shape
    scale_stride = 0 if kv.k_scales is None else kv.k_scales.stride(1)
    return CacheArgs(*pages, kv_heads, head_dim, block_size, DTYPES[kv.k.dtype], kv.k.stride(1), scale_stride)


def adapter_args(pieces: Sequence[LowRank]) -> AdapterArgs:
    """The addresses of what an adapter adds to one product."""
    assert len(pieces) <= MAX_PIECES and all(piece.b.rows % 16 == 0 for piece in pieces)
    ranks = [LowRankArgs(matrix_args(piece.a), matrix_args(piece.b), piece.start) for piece in pieces]
    return AdapterArgs((LowRankArgs * MAX_PIECES)(*ranks), len(pieces))


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


def tensors_of(*operands: Codes | Rows | Weight | LayerKVCache | Tensor | None) -> Iterable[Tensor]:
    """Every tensor whose address is in the arguments made of ``operands``."""
    for operand in operands:
        if isinstance(operand, Tensor):
            yield operand
        elif isinstance(operand, Codes):
            yield from operand.tensors
            if operand.q6_k is not None:
                yield operand.q6_k
        elif isinstance(operand, Rows):
            yield operand.values
        elif isinstance(operand, LayerKVCache):
            yield from operand.tensors
        elif operand is not None:
            held = [t for piece in operand.pieces for t in piece.tensors]
            yield from (t for t in (*held, operand.bias) if t is not None)
