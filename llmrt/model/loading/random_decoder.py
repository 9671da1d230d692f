"""A decoder of random weights that are drawn where they are used: a GPU draws in a second what a CPU would send it.

Packed ones are random codes under one scale, so nothing is quantized. Like those of ``random_checkpoint.py`` they are
for measuring, and of a deviation of 0.02.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from llmrt.model.checkpoints.tensor_slots import tensor_slots
from llmrt.model.loading.load_quantized import QuantizedLoad
from llmrt.model.loading.read_tensors import BESIDE_PACKED, Progress, WeightLoad
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.types import OpSpec
from llmrt.quant.feedback import Feedback
from llmrt.quant.packed_weight import BLOCK, PackedWeight, packed_weight, stack
from llmrt.quant.recipe import Recipe
from llmrt.quant.scheme import QuantScheme

DEVIATION = 0.02


def random_decoder(
    checkpoint: RandomCheckpoint, context_length: int, spec: OpSpec, progress: Progress, recipe: Recipe | None
) -> Decoder:
    """The shape of ``checkpoint`` on the device of ``spec``, its matrices packed by ``recipe`` if there is one."""
    decoder = Decoder(checkpoint.config, context_length, spec)
    if recipe is None:
        _fill(decoder, progress)
    else:
        slots = tensor_slots(checkpoint.config, checkpoint.names)
        _RandomLoad(WeightLoad(decoder, checkpoint, slots, progress), recipe).run(None)
    return decoder


def _fill(decoder: Decoder, progress: Progress) -> None:
    weights: dict[str, Tensor] = {}
    for name, meta in decoder.state_dict().items():
        weights[name] = _random(meta.shape, decoder.spec.dtype, decoder.spec.device)
        progress(meta.numel())
    if decoder.config.tied_embeddings:
        weights["lm_head.weight"] = weights["embedding.weight"]
    decoder.load_state_dict(weights, assign=True, strict=True)


def _random(shape: torch.Size, dtype: torch.dtype, device: str) -> Tensor:
    if len(shape) == 1:
        return torch.ones(shape, dtype=dtype, device=device)
    return torch.empty(shape, dtype=dtype, device=device).normal_(0, DEVIATION)


class _RandomLoad(QuantizedLoad):
    """Matrices are shapes without numbers until they are packed."""

    def _read(self, module: str) -> dict[str, Tensor]:
        planned = self._plan(module)
        return {
            name: meta if name in planned else _random(meta.shape, BESIDE_PACKED, self._spec.device)
            for name, meta in self._decoder.state_dict().items()
            if name.startswith(f"{module}.")
        }

    def _quantized(self, weight: Tensor, scheme: QuantScheme, feedback: Feedback | None) -> PackedWeight:
        if weight.dim() == 3:
            return stack([self._quantized(matrix, scheme, feedback) for matrix in weight])
        rows, columns = weight.shape
        blocks, groups = -(-rows // BLOCK), -(-columns // scheme.group)
        shape = (blocks, groups * scheme.group * scheme.bits // 32, 64)
        data = torch.randint(0, 256, shape, dtype=torch.uint8, device=self._spec.device)
        deviation = math.sqrt((4**scheme.bits - 1) / 12)  # of a code, each as likely as the others
        scale = DEVIATION / deviation
        by_group = (scale, scale / 2) if scheme.affine else (scale,)  # codes less their zero are -1/2 on average
        in_blocks = [
            torch.full((blocks, groups, BLOCK), value, dtype=torch.float16, device=self._spec.device)
            for value in by_group
        ]
        self._load.progress(weight.numel())
        return packed_weight((data, *in_blocks), scheme, (rows, columns))
