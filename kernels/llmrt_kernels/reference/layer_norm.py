"""LayerNorm (https://arxiv.org/abs/1607.06450): y = (x - mean(x)) / sqrt(var(x) + eps) * w + b, in fp32."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, group: int = 0) -> Tensor:
    """Normalise each row. x [T, N], weight and bias [N] -> [T, N] of x's dtype.

    Where products take int8 activations, ``group`` of them share a scale; here they stay what they are.
    """
    del group
    return F.layer_norm(x.float(), (x.shape[-1],), weight.float(), bias.float(), eps).to(x.dtype)
