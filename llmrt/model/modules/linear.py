"""Products with a weight, and what is computed right after them.

Each has a packed twin in ``packed_linear.py`` that takes its place when the weight is quantized.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llmrt.model.forward_batch import ForwardBatch
from llmrt.ops.registry import resolve
from llmrt.ops.table import ACTIVATED_LINEAR, GATED_LINEAR, LINEAR, ROTARY_LINEAR
from llmrt.ops.types import OpSpec
from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache


class DenseModule(nn.Module):
    """A weight [out_features, in_features], and a bias if there is one."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, in_features: int, out_features: int, spec: OpSpec, *, bias: bool = False) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(out_features, in_features, dtype=spec.dtype, device="meta"))
        self.register_buffer("bias", torch.empty(out_features, dtype=spec.dtype, device="meta") if bias else None)


class Linear(DenseModule):
    """y = x W^T + b."""

    def __init__(self, in_features: int, out_features: int, spec: OpSpec, *, bias: bool = False) -> None:
        super().__init__(in_features, out_features, spec, bias=bias)
        self._linear = resolve(LINEAR, spec)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Multiply, and add to the residual stream. x [T, in_features] -> [T, out_features]."""
        return self._linear(x, self.weight, self.bias, residual)


class Head(Linear):
    """From normalised states to logits."""


class GatedLinear(DenseModule):
    """The first half of a gated MLP: W is the gate's matrix above that of what it gates."""

    def __init__(
        self, in_features: int, inner_features: int, spec: OpSpec, *, bias: bool = False, activation: str = "silu"
    ) -> None:
        super().__init__(in_features, 2 * inner_features, spec, bias=bias)
        self.activation = activation
        self._gated_linear = resolve(GATED_LINEAR, spec)

    def forward(self, x: Tensor, delta: Tensor | None = None) -> Tensor:
        """activation(gate) * up. x [T, in_features] -> [T, inner_features]; ``delta`` is added to the product."""
        return self._gated_linear(x, self.weight, self.bias, self.activation, delta=delta)


class ActivatedLinear(DenseModule):
    """The first half of an MLP without a gate."""

    def __init__(
        self, in_features: int, inner_features: int, spec: OpSpec, *, bias: bool = False, activation: str
    ) -> None:
        super().__init__(in_features, inner_features, spec, bias=bias)
        self.activation = activation
        self._activated_linear = resolve(ACTIVATED_LINEAR, spec)

    def forward(self, x: Tensor, delta: Tensor | None = None) -> Tensor:
        """activation(x W^T + b + delta). x [T, in_features] -> [T, inner_features]."""
        return self._activated_linear(x, self.weight, self.bias, self.activation, delta=delta)


class RotaryLinear(DenseModule):
    """Queries, keys and values in one product; what attention reads is rotated and in the cache afterwards."""

    def __init__(self, in_features: int, out_features: int, spec: OpSpec, *, bias: bool = False) -> None:
        super().__init__(in_features, out_features, spec, bias=bias)
        self._rotary_linear = resolve(ROTARY_LINEAR, spec)

    def forward(
        self,
        x: Tensor,
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
            x, self.weight, self.bias, batch.positions, cos_sin, batch.slot_mapping, kv, head_norm, delta=delta
        )
