"""One step's input to the decoder: an argument, never a global."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ForwardBatch:
    """T tokens of B requests, request after request; all indices int64.

    ``input_ids``, ``positions``, ``slot_mapping`` [T]: each token, its place in its request, and the cache slot
    (block * block_size + offset) for its key and value. ``cu_seqlens_q`` [B+1]: request b has the rows from
    entry b to entry b+1. ``seq_lens`` [B]: its keys with these. ``block_table`` [B, N], padded by the null block.
    ``max_query_len``: no request has more rows; known without asking the device.
    ``logits_index`` [R]: the rows whose logits are wanted, None for all. ``adapters`` [T]: the number of each token's
    LoRA adapter, -1 for none; None where no token has one.
    """

    input_ids: Tensor
    positions: Tensor
    slot_mapping: Tensor
    cu_seqlens_q: Tensor
    seq_lens: Tensor
    block_table: Tensor
    max_query_len: int
    logits_index: Tensor | None
    adapters: Tensor | None = None
