"""The record of a layer's KV cache that kernels take."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LayerKVCache:
    """One layer's pages. ``k`` and ``v`` are [num_blocks, KVH, block_size, D].

    A cache of bytes has a scale for each token and head, fp32 [num_blocks, KVH, block_size]. That of int8 is int8 on a
    GPU, uint8 on a CPU, whose kernels have their own order of bytes; fp8 is float8_e4m3fn.
    """

    k: Tensor
    v: Tensor
    k_scales: Tensor | None = None
    v_scales: Tensor | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """Those that there are."""
        tensors = (self.k, self.v, self.k_scales, self.v_scales)
        return [tensor for tensor in tensors if tensor is not None]
