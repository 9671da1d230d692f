"""From a weight to its packed form."""

from __future__ import annotations

from torch import Tensor

from llmrt.ops.registry import resolve
from llmrt.ops.table import QUANTIZE
from llmrt.ops.types import OpSpec
from llmrt.quant.feedback import Feedback
from llmrt.quant.packed_weight import PackedWeight, packed_weight, stack
from llmrt.quant.scheme import QuantScheme


def quantize(weight: Tensor, scheme: QuantScheme, spec: OpSpec, feedback: Feedback | None = None) -> PackedWeight:
    """Quantize and pack ``weight`` [N, K], of any float type, where ``spec`` says.

    Without ``feedback`` each value is rounded for itself, else so that the products with the inputs that it was made
    from stay what they are. Of a stack [E, N, K] each matrix gets whole blocks.
    """
    if weight.dim() == 3:
        return stack([quantize(matrix, scheme, spec, feedback) for matrix in weight])
    rows, columns = weight.shape
    guide = () if feedback is None else (feedback.importance, feedback.directions, feedback.correction)
    operands = [tensor.to(spec.device).contiguous() for tensor in (weight, *guide)]
    tensors = resolve(QUANTIZE, spec)(*operands, bits=scheme.bits, group=scheme.group)
    return packed_weight(tensors, scheme, (rows, columns))
