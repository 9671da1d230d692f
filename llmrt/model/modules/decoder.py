"""The one decoder: every family is values of its configuration."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator

from torch import Tensor, nn

from llmrt.model.config import ModelConfig
from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.kv_cache import KVCache
from llmrt.model.modules.attention import Attention
from llmrt.model.modules.embedding import Embedding, Positions
from llmrt.model.modules.linear import Head
from llmrt.model.modules.mlp import MLP, PlainMLP
from llmrt.model.modules.moe import MoE
from llmrt.model.modules.norm import EmbeddingNorm, NoNorm, PostNorm, Scaled, stream_norm
from llmrt.model.modules.rope import cos_sin_table
from llmrt.ops.registry import resolve
from llmrt.ops.table import SCALE
from llmrt.ops.types import Activations, OpSpec
from llmrt_kernels.kv_cache import LayerKVCache


class DecoderLayer(nn.Module):
    """Attention, then an MLP, as ``ModelConfig`` describes a layer."""

    def __init__(self, config: ModelConfig, layer: int, spec: OpSpec) -> None:
        super().__init__()
        self.attention_norm = stream_norm(config, spec) if config.pre_norms else NoNorm(spec)
        self.attention = Attention(config, config.window_of(layer), spec)
        self.attention_join = _join(config, spec)
        self.mlp_norm = None
        if not config.shared_norm:
            self.mlp_norm = stream_norm(config, spec) if config.pre_norms else NoNorm(spec)
        self.mlp = _mlp(config, layer, spec)
        self.mlp_join = _join(config, spec)
        self._parallel = config.parallel_residual

    def forward(
        self, stream: Tensor, batch: ForwardBatch, cos_sin: Tensor, kv: LayerKVCache, rows: Tensor | None = None
    ) -> Tensor:
        """The residual stream before this layer, and after it, of ``rows`` [R] alone if they are given.

        [T, hidden] -> [T, hidden] or [R, hidden]. Keys and values of all T tokens are in ``kv`` then.
        """
        x = self.attention_norm(stream)
        attended, adapters = self._attend(x, stream, batch, cos_sin, kv), batch.adapters
        if self.mlp_norm is None:
            after = self._feed_forward(x, attended, adapters)
            return after if rows is None else after[rows]
        read = stream if self._parallel else attended
        if rows is not None:
            read, attended = read[rows], attended[rows]
            adapters = None if adapters is None else adapters[rows]
            if len(rows) == 0:
                return attended
        return self._feed_forward(self.mlp_norm(read), attended, adapters)

    def _feed_forward(self, x: Activations, attended: Tensor, adapters: Tensor | None) -> Tensor:
        if self.mlp_join is None:
            return self.mlp(x, attended, adapters)
        return self.mlp_join(self.mlp(x, None, adapters), attended)

    def _attend(self, x: Tensor, stream: Tensor, batch: ForwardBatch, cos_sin: Tensor, kv: LayerKVCache) -> Tensor:
        if self.attention_join is None:
            return self.attention(x, stream, batch, cos_sin, kv)
        return self.attention_join(self.attention(x, None, batch, cos_sin, kv), stream)


def _join(config: ModelConfig, spec: OpSpec) -> PostNorm | Scaled | None:
    """How a product is added to the residual stream; None if as it is, which the product does."""
    if config.post_norms:
        return PostNorm(config.hidden_size, config.norm_eps, spec)
    return None if config.residual_scale == 1 else Scaled(config.residual_scale, spec)


def _mlp(config: ModelConfig, layer: int, spec: OpSpec) -> MLP | PlainMLP | MoE:
    moe = config.moe_of(layer)
    if moe is not None:
        return MoE(config.hidden_size, moe, spec)
    kind, sizes = MLP if config.gated_mlp else PlainMLP, (config.hidden_size, config.intermediate_size)
    return kind(*sizes, spec, bias=config.mlp_bias, activation=config.activation)


class Decoder(nn.Module):
    """Token ids in, logits out. ``context_length`` is the longest sequence that positions are prepared for."""

    def __init__(self, config: ModelConfig, context_length: int, spec: OpSpec) -> None:
        super().__init__()
        self.config = config
        self.spec = spec
        self.embedding = Embedding(config.vocab_size, config.hidden_size, spec)
        self.positions = self.embedding_norm = None
        if config.learned_positions:
            self.positions = Positions(config.context_length, config.hidden_size, spec)
        if config.embedding_norm:
            self.embedding_norm = EmbeddingNorm(config.hidden_size, config.norm_eps, spec)
        self.layers = nn.ModuleList(DecoderLayer(config, i, spec) for i in range(config.num_layers))
        self.norm = stream_norm(config, spec)
        self.lm_head = Head(config.hidden_size, config.vocab_size, spec, bias=config.lm_head_bias)
        self.rotations = Rotations(config, context_length, spec.device)
        self._scale = resolve(SCALE, spec)

    def forward(self, batch: ForwardBatch, kv: KVCache) -> Tensor:
        """Logits of the rows in ``batch.logits_index``, [R, vocab_size] (of all T rows if it is None)."""
        return self.logits(self.stream(batch, kv), batch)

    def stream(self, batch: ForwardBatch, kv: KVCache) -> Tensor:
        """The residual stream after the last layer, [T, hidden]."""
        return deque(self.streams(batch, kv), maxlen=1).pop()

    def streams(self, batch: ForwardBatch, kv: KVCache, rows: Tensor | None = None) -> Generator[Tensor]:
        """The residual stream after each layer, [T, hidden]; after the last of ``rows`` alone if they are given.

        A layer is computed when it is asked for.
        """
        stream = self.embed(batch)
        for i, (layer, layer_kv) in enumerate(zip(self.layers, kv.layers, strict=True)):
            is_last = i == self.config.num_layers - 1
            stream = layer(stream, batch, self.rotations.of(i), layer_kv, rows if is_last else None)
            yield stream

    def embed(self, batch: ForwardBatch) -> Tensor:
        """The residual stream before the first layer, [T, hidden]."""
        stream = self.embedding(batch.input_ids)
        if self.config.embedding_scale != 1:
            stream = self._scale(stream, self.config.embedding_scale)
        if self.positions is not None:
            stream = self.positions(stream, batch.positions)
        return stream if self.embedding_norm is None else self.embedding_norm(stream)

    def logits(self, stream: Tensor, batch: ForwardBatch) -> Tensor:
        """What ``forward`` gives, from the residual stream."""
        if batch.logits_index is not None:
            stream = stream[batch.logits_index]
        return self.head(stream)

    def head(self, stream: Tensor) -> Tensor:
        """Logits of all rows. [T, hidden] -> [T, vocab_size]."""
        logits = self.lm_head(self.norm(stream))
        if self.config.logits_scale == 1 and self.config.logits_cap == 0:
            return logits
        return self._scale(logits, self.config.logits_scale, self.config.logits_cap)


class Rotations(nn.Module):
    """The table of cosines and sines of each layer: most models have one for all."""

    def __init__(self, config: ModelConfig, context_length: int, device: str = "cpu") -> None:
        super().__init__()
        ropes = [config.rope_of(layer) for layer in range(config.num_layers)]
        self._kinds = list(dict.fromkeys(ropes))
        self._of_layer = [self._kinds.index(rope) for rope in ropes]
        self._tables = [cos_sin_table(rope, config.head_dim, context_length).to(device) for rope in self._kinds]

    def of(self, layer: int) -> Tensor:
        """[context_length, 2, D / 2] fp32."""
        return self._tables[self._of_layer[layer]]
