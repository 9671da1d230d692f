"""Layers whose weights are packed, quantized or not, each in the place of the dense one of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.modules.block_weight import BlockWeight
from llmrt.ops.registry import resolve
from llmrt.ops.table import (
    ACTIVATED_LINEAR_PACKED,
    EMBEDDING_PACKED,
    GATED_LINEAR_PACKED,
    LINEAR_PACKED,
    LM_HEAD_PACKED,
    ROTARY_LINEAR_PACKED,
)
from llmrt.ops.types import Activations, OpSpec
from llmrt.quant.packed_weight import PackedWeight
from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.packed import Weight


class PackedModule(nn.Module):
    """A weight in pieces of consecutive rows: parts of one matrix may be kept at different widths.

    It is moved to the device of the spec.
    """

    def __init__(self, pieces: Sequence[PackedWeight | BlockWeight], bias: Tensor | None, spec: OpSpec) -> None:
        super().__init__()
        (group,) = {piece.group for piece in pieces}
        assert spec.group in (0, group)
        self.pieces = [piece.to(spec.device) for piece in pieces]
        self.bias = None if bias is None else bias.to(spec.device)
        self._weight = Weight(tuple(piece.matrix for piece in self.pieces), group, self.bias)


class PackedLinear(PackedModule):
    """y = x W^T + b."""

    def __init__(self, pieces: Sequence[PackedWeight | BlockWeight], bias: Tensor | None, spec: OpSpec) -> None:
        super().__init__(pieces, bias, spec)
        self._linear = resolve(LINEAR_PACKED, spec)

    def forward(self, x: Activations, residual: Tensor | None = None) -> Tensor:
        """Multiply, and add to the residual stream. x [T, in_features] -> [T, out_features]."""
        return self._linear(x, self._weight, residual)


class PackedHead(PackedModule):
    """From normalised states to logits, as exact for many rows as for one."""

    def __init__(self, pieces: Sequence[PackedWeight | BlockWeight], bias: Tensor | None, spec: OpSpec) -> None:
        super().__init__(pieces, bias, spec)
        self._lm_head = resolve(LM_HEAD_PACKED, spec)

    def forward(self, x: Activations) -> Tensor:
        """x W^T + b. x [T, hidden_size] -> [T, vocab_size]."""
        return self._lm_head(x, self._weight)


class PackedGatedLinear(PackedModule):
    """The first half of a gated MLP."""

    def __init__(
        self,
        pieces: Sequence[PackedWeight | BlockWeight],
        bias: Tensor | None,
        spec: OpSpec,
        activation: str = "silu",
    ) -> None:
        super().__init__(pieces, bias, spec)
        self._gated_linear = partial(resolve(GATED_LINEAR_PACKED, spec), name=activation)

    def forward(self, x: Activations, delta: Tensor | None = None) -> Activations:
        """activation(gate) * up. x [T, in_features] -> [T, inner_features]; ``delta`` is added to the product."""
        return self._gated_linear(x, self._weight, delta=delta)


class PackedActivatedLinear(PackedModule):
    """The first half of an MLP without a gate."""

    def __init__(
        self, pieces: Sequence[PackedWeight | BlockWeight], bias: Tensor | None, spec: OpSpec, activation: str
    ) -> None:
        super().__init__(pieces, bias, spec)
        self._activated_linear = partial(resolve(ACTIVATED_LINEAR_PACKED, spec), name=activation)

    def forward(self, x: Activations, delta: Tensor | None = None) -> Activations:
        """activation(x W^T + b + delta). x [T, in_features] -> [T, inner_features]."""
        return self._activated_linear(x, self._weight, delta=delta)


class PackedRotaryLinear(PackedModule):
    """Queries, keys and values."""

    def __init__(self, pieces: Sequence[PackedWeight | BlockWeight], bias: Tensor | None, spec: OpSpec) -> None:
        super().__init__(pieces, bias, spec)
        self._rotary_linear = resolve(ROTARY_LINEAR_PACKED, spec)

    def forward(
        self,
        x: Activations,
        batch: ForwardBatch,
        cos_sin: Tensor,
        kv: LayerKVCache,
        head_norm: HeadNorm | None,
        delta: Tensor | None,
    ) -> Tensor:
        """x [T, in_features] -> queries [T, H, D]; keys and values of the T tokens are in ``kv`` afterwards.

        ``delta`` is added to the product.
        """
        return self._rotary_linear(
            x, self._weight, batch.positions, cos_sin, batch.slot_mapping, kv, head_norm, delta=delta
        )


class PackedExperts(PackedModule):
    """A matrix of each expert, one above the other, each in whole blocks."""

    @property
    def weight(self) -> Weight:
        """All of them, as the op that mixes the experts takes them."""
        return self._weight


class PackedEmbedding(PackedModule):
    """Rows of a table in one piece."""

    def __init__(self, pieces: Sequence[PackedWeight | BlockWeight], bias: Tensor | None, spec: OpSpec) -> None:
        super().__init__(pieces, bias, spec)
        self._hidden_size = pieces[0].shape[1]
        self._dtype = spec.stream
        self._embedding_packed = resolve(EMBEDDING_PACKED, spec)

    def forward(self, token_ids: Tensor) -> Tensor:
        """token_ids [T] -> [T, hidden_size]."""
        return self._embedding_packed(token_ids, self._weight, self._hidden_size, self._dtype)
