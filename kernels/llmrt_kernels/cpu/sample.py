"""A token drawn for each row. The contract is the reference's."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt_kernels.cpu.addresses import address
from llmrt_kernels.cpu.structs import SampleArgs
from llmrt_kernels.cpu.tape import submit


def sample(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    min_p: Tensor,
    seeds: Tensor,
    draws: Tensor,
    *,
    any_top_k: bool,
    any_top_p: bool,
) -> Tensor:
    """logits [T, V] fp32, all others [T] -> [T] int64."""
    del any_top_k, any_top_p  # each row is cut by itself
    tokens, size = logits.shape
    out = torch.empty(tokens, dtype=torch.int64)
    tensors = (logits, temperature, top_k, top_p, min_p, seeds, draws, out)
    submit("sample", SampleArgs(*map(address, tensors), tokens, size), *tensors)
    return out
