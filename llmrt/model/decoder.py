"""The one decoder: every family is values of its configuration."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator

from torch import Tensor, nn

from llmrt.model.attention import Attention
from llmrt.model.config import ModelConfig
from llmrt.model.embedding import Embedding
from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.kv_cache import KVCache, LayerKVCache
from llmrt.model.linear import Linear
from llmrt.model.mlp import MLP
from llmrt.model.moe import MoE
from llmrt.model.norm import RMSNorm
from llmrt.model.rope import cos_sin_table
from llmrt.ops.types import OpSpec


class DecoderLayer(nn.Module):
    """Attention, then an MLP, each behind a norm of the residual stream."""

    def __init__(self, config: ModelConfig, layer: int, spec: OpSpec) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.norm_eps, spec)
        self.attention = Attention(config, config.window_of(layer), spec)
        self.mlp_norm = RMSNorm(config.hidden_size, config.norm_eps, spec)
        moe = config.moe_of(layer)
        if moe is None:
            self.mlp = MLP(config.hidden_size, config.intermediate_size, spec, bias=config.mlp_bias)
        else:
            self.mlp = MoE(config.hidden_size, moe, spec)

    def forward(self, stream: Tensor, batch: ForwardBatch, cos_sin: Tensor, kv: LayerKVCache) -> Tensor:
        """The residual stream before this layer, and after it. [T, hidden] -> [T, hidden]."""
        stream = self.attention(self.attention_norm(stream), stream, batch, cos_sin, kv)
        return self.mlp(self.mlp_norm(stream), stream)


class Decoder(nn.Module):
    """Token ids in, logits out. ``context_length`` is the longest sequence that positions are prepared for."""

    cos_sin: Tensor

    def __init__(self, config: ModelConfig, context_length: int, spec: OpSpec) -> None:
        super().__init__()
        self.config = config
        self.spec = spec
        self.embedding = Embedding(config.vocab_size, config.hidden_size, spec)
        self.layers = nn.ModuleList(DecoderLayer(config, i, spec) for i in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps, spec)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, spec)
        table = cos_sin_table(config.rope, config.head_dim, context_length)
        self.register_buffer("cos_sin", table, persistent=False)

    def forward(self, batch: ForwardBatch, kv: KVCache) -> Tensor:
        """Logits of the rows in ``batch.logits_index``, [R, vocab_size] (of all T rows if it is None)."""
        return self.logits(self.stream(batch, kv), batch)

    def stream(self, batch: ForwardBatch, kv: KVCache) -> Tensor:
        """The residual stream behind the last layer, [T, hidden]."""
        return deque(self.streams(batch, kv), maxlen=1).pop()

    def streams(self, batch: ForwardBatch, kv: KVCache) -> Generator[Tensor]:
        """The residual stream behind each layer, [T, hidden]. A layer is computed when it is asked for."""
        stream = self.embedding(batch.input_ids)
        for layer, layer_kv in zip(self.layers, kv.layers, strict=True):
            stream = layer(stream, batch, self.cos_sin, layer_kv)
            yield stream

    def logits(self, stream: Tensor, batch: ForwardBatch) -> Tensor:
        """What ``forward`` gives, from the residual stream."""
        if batch.logits_index is not None:
            stream = stream[batch.logits_index]
        return self.lm_head(self.norm(stream))
