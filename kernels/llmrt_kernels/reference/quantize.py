"""Choosing codes and scales, symmetric: w = scale * code, the code stored + 8 for 4 bits, + 128 for 8.

Scale of a group: with e the value of largest magnitude, the codes l = round(c / e * x), cut to the range, are tried for
a few c at the low end of it; for given codes the scale sum(v x l) / sum(v l^2) takes sum(v x l)^2 / sum(v l^2) off the
error sum(v (x - scale l)^2), and the candidate that takes most is kept; its scale is fitted once more to the codes that
it leads to, and rounded to fp16. v is the importance of a column, 1 by default.

Feedback: with ``directions`` U [K, R] of the weight's inputs, d [N, R] is the sum of (w - scale l) U over the columns
that are done, and column k is rounded from w_k + d . correction_k. A group's scale is chosen for what its columns are
rounded from as they stand before the group.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CANDIDATES = {4: (-7.25, -7.75, -8.25, -8.75, -9.25), 8: (-128.0, -127.0, -126.0, -125.0)}
BLOCK = 16
STRIP_VALUES = 16_000_000


def quantize(
    weight: Tensor,
    importance: Tensor | None = None,
    directions: Tensor | None = None,
    correction: Tensor | None = None,
    *,
    bits: int,
    group: int,
) -> tuple[Tensor, Tensor]:
    """weight [N, K] of fp32, bf16 or fp16 -> (data, scales) as ``linear_packed`` reads them.

    importance [K], directions and correction [K, R] are fp32; the latter come together or not at all. Rows are
    quantized in strips, so that what is held in fp32 beside the weight stays small.
    """
    strips = weight.split(max(BLOCK, STRIP_VALUES // weight.shape[1] // BLOCK * BLOCK))
    parts = [_strip(rows, importance, directions, correction, bits=bits, group=group) for rows in strips]
    data, scales = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return data, scales


def _strip(
    weight: Tensor,
    importance: Tensor | None,
    directions: Tensor | None,
    correction: Tensor | None,
    *,
    bits: int,
    group: int,
) -> tuple[Tensor, Tensor]:
    rows, columns = weight.shape
    more = -columns % group
    w = F.pad(weight.float(), (0, more, 0, -rows % BLOCK))
    v = torch.ones(w.shape[1]) if importance is None else F.pad(importance, (0, more), value=1.0)
    none = torch.zeros(columns, 0)
    u, a = (F.pad(none if t is None else t, (0, 0, 0, more)) for t in (directions, correction))
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    d = torch.zeros(w.shape[0], u.shape[1])
    codes, scales = torch.empty_like(w), torch.empty(w.shape[0], w.shape[1] // group)
    for g, start in enumerate(range(0, w.shape[1], group)):
        columns_here = range(start, start + group)
        span = slice(start, start + group)
        scale = _searched(w[:, span] + d @ a[span].T, v[span], bits).half().float()
        for k in columns_here:
            codes[:, k] = (_over(w[:, k] + d @ a[k], scale)).round().clamp(low, high)
            d += torch.outer(w[:, k] - codes[:, k] * scale, u[k])
        scales[:, g] = scale
    data = pack_codes((codes - low).to(torch.uint8), bits)
    return data, scales.unflatten(0, (-1, BLOCK)).transpose(1, 2).half().contiguous()


def _searched(x: Tensor, v: Tensor, bits: int) -> Tensor:
    """Scales [N] for groups x [N, G], their columns weighed by v [G]."""
    extreme = x.gather(1, x.abs().argmax(1, keepdim=True)).squeeze(1)
    best_gain, best_scale = torch.zeros_like(extreme), torch.zeros_like(extreme)
    for candidate in CANDIDATES[bits]:
        scale, gain = _fitted(x, v, extreme / candidate, bits)
        best_scale = torch.where(gain > best_gain, scale, best_scale)
        best_gain = torch.maximum(gain, best_gain)
    return _fitted(x, v, best_scale, bits)[0]


def _fitted(x: Tensor, v: Tensor, scale: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """The best scales [N] for the codes that ``scale`` [N] leads to, and what they take off the error."""
    codes = _over(x, scale.unsqueeze(1)).round().clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    numerator, denominator = (v * x * codes).sum(1), (v * codes**2).sum(1)
    fitted = torch.where(denominator > 0, numerator / denominator, 0.0)
    return fitted, fitted * numerator


def _over(x: Tensor, scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 0.0, x / scale)


def pack_codes(codes: Tensor, bits: int) -> Tensor:
    """codes [N, K] uint8, N a multiple of 16 -> lines of 64 bytes, see ``linear_packed``."""
    blocks = codes.unflatten(0, (-1, BLOCK))
    if bits == 4:
        low, high = blocks.unflatten(2, (-1, 2, 4)).unbind(3)
        lines = low | (high << 4)
    else:
        lines = blocks.unflatten(2, (-1, 4))
    return lines.transpose(1, 2).flatten(2).contiguous()
