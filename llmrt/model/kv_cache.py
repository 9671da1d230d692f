"""The memory of keys and values, in pages."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llmrt.model.config import ModelConfig


@dataclass(frozen=True)
class LayerKVCache:
    """One layer's pages. ``k`` and ``v`` are [num_blocks, KVH, block_size, D]."""

    k: Tensor
    v: Tensor


@dataclass(frozen=True)
class KVCache:
    """Every layer's pages; a block id names the same page in all of them."""

    layers: tuple[LayerKVCache, ...]

    @classmethod
    def allocate(
        cls, config: ModelConfig, num_blocks: int, block_size: int, dtype: torch.dtype, device: torch.device
    ) -> KVCache:
        """Reserve the pages. On a CPU the system commits memory as they are first written."""
        shape = (num_blocks, config.num_kv_heads, block_size, config.head_dim)

        def pages() -> Tensor:
            return torch.empty(shape, dtype=dtype, device=device)

        return cls(tuple(LayerKVCache(pages(), pages()) for _ in range(config.num_layers)))
