"""Rows of a GGUF file into packed weights natively."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.addresses import address
from llmrt_kernels.cpu.structs import RepackArgs
from llmrt_kernels.cpu.tape import submit

# Types that the kernel takes, by the numbers that files have for them.
Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL = 2, 3, 6, 7, 8, 20
Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS = 10, 11, 12, 13, 14, 23
FILE_TYPES = (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS)


def repack(
    rows: Tensor, columns: int, file_type: int, *, lines: int, groups: int, affine: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The addresses of rows of K ``columns``, int64 [N/16, 16] -> data, scales, offsets as ``Matrix`` has them.

    ``lines`` of 64 bytes and ``groups`` are those of a block of rows.
    """
    data = torch.empty(len(rows), lines, 64, dtype=torch.uint8)
    scales = torch.empty(len(rows), groups, 16, dtype=torch.float16)
    offsets = torch.empty_like(scales) if affine else None
    args = RepackArgs(*map(address, (rows, data, scales, offsets)), len(rows), columns, file_type)
    submit("repack", args)
    return data, scales, offsets
