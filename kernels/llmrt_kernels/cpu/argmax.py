"""The likeliest token. The contract is the reference's."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.addresses import address
from llmrt_kernels.cpu.structs import ArgmaxArgs
from llmrt_kernels.cpu.tape import submit

STRETCH = 4096  # kStretch of the kernel


def argmax(logits: Tensor) -> Tensor:
    """logits [T, V] fp32 -> [T] int64."""
    tokens, size = logits.shape
    out, finds = torch.empty(tokens, dtype=torch.int64), torch.empty(tokens, -(-size // STRETCH), dtype=torch.int64)
    submit("argmax", ArgmaxArgs(address(logits), address(finds), address(out), tokens, size), logits, finds, out)
    return out
