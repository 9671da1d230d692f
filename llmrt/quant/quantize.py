"""From a weight to its packed form."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt.ops.quantize import QUANTIZE
from llmrt.ops.registry import resolve
from llmrt.ops.types import OpSpec
from llmrt.quant.feedback import Feedback
from llmrt.quant.packed_weight import BLOCK, PackedWeight, stack
from llmrt.quant.scheme import QuantScheme

# Rows are quantized in strips, so that what is held in fp32 beside the weight stays below this.
STRIP_VALUES = 16_000_000


def quantize(weight: Tensor, scheme: QuantScheme, spec: OpSpec, feedback: Feedback | None = None) -> PackedWeight:
    """Quantize and pack ``weight`` [N, K], of any float type, where ``spec`` says.

    Without ``feedback`` each value is rounded for itself, else so that the products with the inputs that it was made
    from stay what they are. Of a stack [E, N, K] each matrix gets whole blocks.
    """
    if weight.dim() == 3:
        return stack([quantize(matrix, scheme, spec, feedback) for matrix in weight])
    rows, columns = weight.shape
    fn = resolve(QUANTIZE, spec)
    guide = () if feedback is None else (feedback.importance, feedback.directions, feedback.correction)
    strip = max(BLOCK, STRIP_VALUES // columns // BLOCK * BLOCK)
    parts = [
        fn(weight[start : start + strip].float().contiguous(), *guide, bits=scheme.bits, group=scheme.group)
        for start in range(0, rows, strip)
    ]
    data, scales = (torch.cat(tensors) if len(parts) > 1 else tensors[0] for tensors in zip(*parts, strict=True))
    return PackedWeight(data, scales, scheme, (rows, columns))
