"""Products with packed int4 and int8 weights, and rows of a packed table. Layouts: ``csrc/llmrt_cpu.h``."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.structs import EmbeddingArgs, LinearArgs, address
from llmrt_kernels.cpu.tape import submit


def linear_packed(
    x: Tensor,
    data: Tensor,
    scales: Tensor,
    zeros: Tensor | None,
    bias: Tensor | None,
    out: Tensor,
    *,
    bits: int,
    group: int,
) -> None:
    """Write x W^T + b into ``out``. x [T, K] fp32; out [T, N] fp32, a column range of a wider tensor allowed.

    data [N/16, K/8 or K/4, 64] uint8, scales [N/16, K/G, 16] fp16, zeros the same in uint8 or None, bias [N].
    """
    tokens, columns = x.shape[0], scales.shape[1] * group
    codes = torch.empty(tokens, columns, dtype=torch.int8)
    code_scales = torch.empty(tokens, scales.shape[1])
    code_sums = torch.empty(tokens, scales.shape[1], dtype=torch.int32)
    assert out.stride(1) == 1 and x.dtype == out.dtype == torch.float32
    args = LinearArgs(
        address(x),
        out.data_ptr(),
        address(data),
        address(scales),
        address(zeros),
        address(bias),
        address(codes),
        address(code_scales),
        address(code_sums),
        tokens,
        x.shape[1],
        x.shape[1],
        columns,
        out.shape[1],
        out.stride(0),
        bits,
        group,
    )
    submit("linear", args, x, out, data, scales, zeros, bias, codes, code_scales, code_sums)


def embedding_packed(token_ids: Tensor, data: Tensor, scales: Tensor, hidden_size: int, *, group: int) -> Tensor:
    """Rows of an int8 table packed as for ``linear_packed``. token_ids [T] int64 -> [T, hidden_size] fp32."""
    out = torch.empty(token_ids.shape[0], hidden_size)
    columns = scales.shape[1] * group
    args = EmbeddingArgs(
        address(token_ids),
        address(data),
        address(scales),
        address(out),
        token_ids.shape[0],
        columns,
        hidden_size,
        group,
    )
    submit("embedding", args, token_ids, data, scales, out)
    return out
