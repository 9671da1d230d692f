"""Norms of the residual stream, of what is added to it, and of queries and keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llmrt.model.config import ModelConfig
from llmrt.ops.registry import resolve
from llmrt.ops.table import ADD_SCALED, LAYER_NORM, RMS_NORM, RMS_NORM_ADD, ROWS, STREAM_NORM
from llmrt.ops.types import Activations, OpSpec
from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.reference.layer_norm import layer_norm
from llmrt_kernels.reference.rms_norm import rms_norm


class RMSNorm(nn.Module):
    """Normalises the residual stream for the product that follows."""

    weight: Tensor

    def __init__(self, size: int, eps: float, spec: OpSpec) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(size, dtype=spec.dtype, device="meta"))
        self._eps = eps
        self._group = spec.group
        self._rms_norm = resolve(RMS_NORM, spec)

    def forward(self, x: Tensor) -> Activations:
        """x [T, N] -> [T, N]."""
        return self._rms_norm(x, self.weight, self._eps, self._group)

    def states(self, x: Tensor) -> Tensor:
        """The same as numbers for a reader, never in int8. x [T, N] -> [T, N] fp32."""
        return rms_norm(x.float(), self.weight, self._eps)


class LayerNorm(nn.Module):
    """The same by mean and variance. A model without biases has zeros there, which no file holds."""

    weight: Tensor
    bias: Tensor

    def __init__(self, size: int, eps: float, spec: OpSpec, *, bias: bool = True) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(size, dtype=spec.dtype, device="meta"))
        if bias:
            self.register_buffer("bias", torch.empty(size, dtype=spec.dtype, device="meta"))
        else:
            self.register_buffer("bias", torch.zeros(size, device=spec.device), persistent=False)
        self._eps = eps
        self._group = spec.group
        self._layer_norm = resolve(LAYER_NORM, spec)

    def forward(self, x: Tensor) -> Activations:
        """x [T, N] -> [T, N]."""
        return self._layer_norm(x, self.weight, self.bias, self._eps, self._group)

    def states(self, x: Tensor) -> Tensor:
        """The same as numbers for a reader, never in int8. x [T, N] -> [T, N] fp32."""
        return layer_norm(x.float(), self.weight, self.bias, self._eps)


class EmbeddingNorm(LayerNorm):
    """Normalises embeddings before the first layer."""

    def __init__(self, size: int, eps: float, spec: OpSpec) -> None:
        super().__init__(size, eps, spec)
        self._stream_norm = resolve(STREAM_NORM, spec)

    def forward(self, x: Tensor) -> Tensor:
        """x [T, N] -> the residual stream [T, N]."""
        return self._stream_norm(x, self.weight, self.bias, self._eps)


class NoNorm(nn.Module):
    """The residual stream as it is, for the product that follows."""

    def __init__(self, spec: OpSpec) -> None:
        super().__init__()
        self._group = spec.group
        self._rows = resolve(ROWS, spec)

    def forward(self, x: Tensor) -> Activations:
        """x [T, N] -> [T, N]."""
        return self._rows(x, self._group)


class PostNorm(nn.Module):
    """Normalises what is added to the residual stream."""

    weight: Tensor

    def __init__(self, size: int, eps: float, spec: OpSpec) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(size, dtype=spec.dtype, device="meta"))
        self._eps = eps
        self._rms_norm_add = resolve(RMS_NORM_ADD, spec)

    def forward(self, y: Tensor, residual: Tensor) -> Tensor:
        """y, residual [T, N] -> residual + norm(y)."""
        return self._rms_norm_add(y, self.weight, self._eps, residual)


class Scaled(nn.Module):
    """Multiplies what is added to the residual stream."""

    def __init__(self, factor: float, spec: OpSpec) -> None:
        super().__init__()
        self._factor = factor
        self._add_scaled = resolve(ADD_SCALED, spec)

    def forward(self, y: Tensor, residual: Tensor) -> Tensor:
        """y, residual [T, N] -> residual + factor * y."""
        return self._add_scaled(y, self._factor, residual)


class QKNorm(nn.Module):
    """The weights that queries and keys are normalised with: see ``HeadNorm``."""

    q: Tensor
    k: Tensor

    def __init__(self, config: ModelConfig, spec: OpSpec) -> None:
        super().__init__()
        heads = {"q": config.num_heads, "k": config.num_kv_heads}
        for name, count in heads.items():
            shape = (config.head_dim * (count if config.qk_norm_of_rows else 1),)
            if config.qk_layer_norm:
                shape = (count, config.head_dim)
            self.register_buffer(name, torch.empty(shape, dtype=spec.dtype, device="meta"))
        self._eps = config.norm_eps
        self._centred = config.qk_layer_norm

    @property
    def record(self) -> HeadNorm:
        """As the product takes them."""
        return HeadNorm(self.q, self.k, self._eps, self._centred)


def stream_norm(config: ModelConfig, spec: OpSpec) -> RMSNorm | LayerNorm:
    """The norm that this model has before its products."""
    if config.layer_norm:
        return LayerNorm(config.hidden_size, config.norm_eps, spec, bias=config.norm_bias)
    return RMSNorm(config.hidden_size, config.norm_eps, spec)
