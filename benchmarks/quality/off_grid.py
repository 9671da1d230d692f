"""A checkpoint taken off the grid that its weights may lie on.

Weights that were stored in 4 bits flatter every 4-bit scheme of the same groups. Here the norms are folded into the
linear layers, the residual stream and each value head are rotated by random orthogonal matrices, and the head is
untied from the embedding table, all of which cancels out: the function is the same, the weights are ordinary reals.

    x' = Q^T x       the residual stream; RMSNorm with unit weights commutes with Q
    W' = W diag(g) Q         for what reads it: q, k, v, gate, up, and the head; g is the weight of the norm before
    W' = Q^T W               for what writes it: attention output, down;  E' = E Q for the embedding table
    W_v' = R_h^T W_v,  W_o' = W_o R_h            within value head h, for every query head that shares it
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from llmrt.model.checkpoints.checkpoint import Checkpoint
from llmrt.model.checkpoints.tensor_slots import tensor_slots
from llmrt.model.stored_tensor import StoredTensor


class OffGridCheckpoint:
    """``base`` (a dense model without biases), rotated by matrices drawn from ``seed``; tensors come in fp32."""

    def __init__(self, base: Checkpoint, seed: int = 0) -> None:
        config = base.config
        assert config.moe is None
        assert not (config.qkv_bias or config.attention_output_bias or config.mlp_bias)
        self.config = replace(config, tied_embeddings=False)
        self.names = base.names
        slots = tensor_slots(self.config, base.names)
        self.inventory = {name: StoredTensor(slot.shape, Path("off-grid weights")) for name, slot in slots.items()}
        self._base = base
        generator = torch.Generator().manual_seed(seed)
        self._stream = _orthogonal(config.hidden_size, generator)
        self._values = [
            torch.block_diag(*(_orthogonal(config.head_dim, generator) for _ in range(config.num_kv_heads)))
            for _ in range(config.num_layers)
        ]
        self._rotations = dict(self._plan())

    def load(self, name: str) -> Tensor:
        """One tensor, rotated."""
        if "norm" in name:
            return torch.ones(self.inventory[name].shape)
        left, right, norm = self._rotations[name]
        weight = self._base.load(self._stored(name)).double()
        if norm is not None:
            weight = weight * self._base.load(norm).double()
        if left is not None:
            weight = left.T @ weight
        return (weight if right is None else weight @ right).float()

    def _stored(self, name: str) -> str:
        """Where a tied head is stored."""
        return name if name in self._base.inventory else f"{self.names.embedding}.weight"

    def _plan(self) -> Iterator[tuple[str, tuple[Tensor | None, Tensor | None, str | None]]]:
        """For each matrix: what it is multiplied by from the left (transposed) and from the right, and its norm."""
        names, stream = self.names, self._stream
        yield f"{names.embedding}.weight", (None, stream, None)
        yield f"{names.lm_head}.weight", (None, stream, f"{names.final_norm}.weight")
        for i, values in enumerate(self._values):
            layer = names.layer.format(i=i)
            attention_norm, mlp_norm = f"{layer}{names.attention_norm}.weight", f"{layer}{names.mlp_norm}.weight"
            yield f"{layer}{names.q}.weight", (None, stream, attention_norm)
            yield f"{layer}{names.k}.weight", (None, stream, attention_norm)
            yield f"{layer}{names.v}.weight", (values, stream, attention_norm)
            yield f"{layer}{names.attention_output}.weight", (stream, self._shared(values), None)
            yield f"{layer}{names.gate}.weight", (None, stream, mlp_norm)
            yield f"{layer}{names.up}.weight", (None, stream, mlp_norm)
            yield f"{layer}{names.down}.weight", (stream, None, None)

    def _shared(self, values: Tensor) -> Tensor:
        """The rotation of the attention's output: each value head's, once for every query head that reads it."""
        config = self.config
        d, group = config.head_dim, config.num_heads // config.num_kv_heads
        heads = [values[h * d : (h + 1) * d, h * d : (h + 1) * d] for h in range(config.num_kv_heads)]
        return torch.block_diag(*(head for head in heads for _ in range(group)))


def _orthogonal(size: int, generator: torch.Generator) -> Tensor:
    """A random rotation or reflection, uniform over all of them, [size, size] fp64."""
    q, r = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator))
    return q * r.diagonal().sign()
