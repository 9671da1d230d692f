"""The memory of keys and values, in pages."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llmrt.model.config import ModelConfig
from llmrt_kernels.kv_cache import LayerKVCache


@dataclass(frozen=True)
class KVCache:
    """Every layer's pages; a block id names the same page in all of them."""

    layers: tuple[LayerKVCache, ...]

    @classmethod
    def allocate(
        cls,
        config: ModelConfig,
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
        *,
        paired: bool = False,
    ) -> KVCache:
        """Reserve the pages. On a CPU the system commits memory as they come into use.

        With ``paired`` each page of keys stands before that of its values: a CPU reads one stream of memory faster than
        two. GPU kernels take keys and values that are contiguous each.
        """
        shape = (block_size, config.head_dim)

        def pages(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
            leading, at = (num_blocks, config.num_kv_heads), 2 if paired else 0
            sizes = (*leading[:at], 2, *leading[at:], *shape)
            return torch.empty(sizes, dtype=dtype, device=device).unbind(at)

        def layer() -> LayerKVCache:
            k, v = pages(shape, dtype)
            return LayerKVCache(k, v, *(() if dtype.itemsize > 1 else pages(shape[:1], torch.float32)))

        return cls(tuple(layer() for _ in range(config.num_layers)))

    @property
    def tensors(self) -> list[Tensor]:
        """All there is, [num_blocks, KVH, ...] each."""
        return [tensor for layer in self.layers for tensor in layer.tensors]

    def randomize(self) -> None:
        """Write random keys and values, to every page the same: what is timed over them costs what real ones would.

        Pages that were never written are all one page of zeros to the system, and reading it is too cheap.
        """
        for layer in self.layers:
            for pages in (layer.k, layer.v):
                page = torch.randn(pages.shape[1:])
                if layer.k_scales is not None:
                    page = page * 32
                if not pages.is_floating_point():
                    least = torch.iinfo(pages.dtype).min
                    page = (page + 128).clamp(0, 255) + least
                pages.copy_(page.to(pages.device, pages.dtype).expand_as(pages))
            for scales in (layer.k_scales, layer.v_scales):
                if scales is not None:
                    scales.fill_(1 / 32)
