"""Grouped-query attention over the paged KV cache."""

from __future__ import annotations

from torch import Tensor, nn

from llmrt.model.config import ModelConfig
from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.kv_cache import LayerKVCache
from llmrt.model.linear import Linear
from llmrt.ops.paged_attention import PAGED_ATTENTION
from llmrt.ops.registry import resolve
from llmrt.ops.rope_kv_write import ROPE_KV_WRITE
from llmrt.ops.types import OpSpec


class Attention(nn.Module):
    """qkv -> rotate, write keys and values -> attend -> output."""

    def __init__(self, config: ModelConfig, spec: OpSpec) -> None:
        super().__init__()
        heads, head_dim = config.num_heads, config.head_dim
        self.qkv = Linear(config.hidden_size, (heads + 2 * config.num_kv_heads) * head_dim, spec, bias=config.qkv_bias)
        self.output = Linear(heads * head_dim, config.hidden_size, spec, bias=config.attention_output_bias)
        self._scale = head_dim**-0.5
        self._sliding_window = config.sliding_window
        self._rope_kv_write = resolve(ROPE_KV_WRITE, spec.of_size(head_dim))
        self._paged_attention = resolve(PAGED_ATTENTION, spec.of_size(head_dim))

    def forward(self, x: Tensor, batch: ForwardBatch, cos_sin: Tensor, kv: LayerKVCache) -> Tensor:
        """x [T, hidden] -> [T, hidden]; keys and values of the T tokens are in ``kv`` afterwards."""
        q = self._rope_kv_write(self.qkv(x), batch.positions, cos_sin, batch.slot_mapping, kv.k, kv.v)
        attended = self._paged_attention(
            q,
            kv.k,
            kv.v,
            batch.block_table,
            batch.cu_seqlens_q,
            batch.seq_lens,
            self._scale,
            self._sliding_window,
        )
        return self.output(attended.flatten(1))
