"""Grouped-query attention over the paged KV cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from llmrt.model.config import ModelConfig
from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.modules.linear import Linear, RotaryLinear
from llmrt.model.modules.lora import Lora
from llmrt.model.modules.norm import QKNorm
from llmrt.ops.registry import resolve
from llmrt.ops.table import PAGED_ATTENTION
from llmrt.ops.types import Activations, OpSpec
from llmrt_kernels.kv_cache import LayerKVCache


class Attention(nn.Module):
    """qkv -> attend -> output."""

    def __init__(self, config: ModelConfig, sliding_window: int | None, spec: OpSpec) -> None:
        super().__init__()
        heads, head_dim = config.num_heads, config.head_dim
        all_heads = heads + 2 * config.num_kv_heads
        self.qkv = RotaryLinear(config.hidden_size, all_heads * head_dim, spec, bias=config.qkv_bias)
        self.qk_norm = QKNorm(config, spec) if config.qk_norm else None
        self.qkv_lora = Lora(all_heads * head_dim, spec)
        self.output = Linear(heads * head_dim, config.hidden_size, spec, bias=config.attention_output_bias)
        self.output_lora = Lora(config.hidden_size, spec)
        self._scale = head_dim**-0.5 if config.attention_scale is None else config.attention_scale
        self._sliding_window = sliding_window
        self._group = spec.group
        attention: Callable[..., Activations] = resolve(PAGED_ATTENTION, spec)
        slopes = torch.tensor(config.alibi_slopes, device=spec.device) if config.alibi_slopes else None
        self._paged_attention = partial(attention, cap=config.attention_cap, slopes=slopes)

    def forward(
        self, x: Activations, residual: Tensor | None, batch: ForwardBatch, cos_sin: Tensor, kv: LayerKVCache
    ) -> Tensor:
        """x, residual [T, hidden] -> attention(x), added to the residual if there is one.

        Keys and values of the T tokens are in ``kv`` then.
        """
        head_norm = None if self.qk_norm is None else self.qk_norm.record
        q = self.qkv(x, batch, cos_sin, kv, head_norm, self.qkv_lora(x, batch.adapters))
        attended = self._paged_attention(
            q,
            kv,
            batch.block_table,
            batch.cu_seqlens_q,
            batch.seq_lens,
            batch.max_query_len,
            self._scale,
            self._sliding_window,
            self._group,
        )
        return self.output(attended, self.output_lora(attended, batch.adapters, residual))
