"""From codes that somebody else chose to their packed form."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from llmrt.quant.packed_weight import PackedWeight, packed_weight
from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.layout import BLOCK, FORMS


def pack(words: Tensor, scales: Tensor, offsets: Tensor | None, scheme: QuantScheme) -> PackedWeight:
    """The matrix w = scale * (code - 2^(bits - 1)) + offset, its numbers as they are.

    ``words`` has the codes of rows [N, K], see ``words.py``; ``scales`` [N, K/G], rounded up, and ``offsets`` likewise
    if the scheme is affine, of any float type, to be rounded to fp16. Those of a form are whole strips.
    """
    rows, width = words.shape
    lines = _in_blocks(F.pad(words, (0, -width % scheme.words_of(scheme.scale_columns)))).view(torch.uint8)
    if scheme.form is not None and FORMS[scheme.form].has_integers:
        _order_integers(lines.unflatten(1, (-1, FORMS[scheme.form].lines))[:, :, -1])
    by_group = (scales,) if offsets is None else (scales, offsets)
    tensors = (lines, *(_in_blocks(t.half()) for t in by_group))
    return packed_weight(tensors, scheme, (rows, scheme.columns_of(width)))


def _order_integers(lines: Tensor) -> None:
    """Of lines [.., 64] with four bytes of each row in turn, make such with the first of all rows, then the second."""
    lines.copy_(lines.unflatten(-1, (BLOCK, 4)).transpose(-1, -2).flatten(-2))


def _in_blocks(rows: Tensor) -> Tensor:
    """[N, W] -> [N/16, W, 16]: what rows of a block have in turn, one after the other."""
    if rest := -len(rows) % BLOCK:
        rows = F.pad(rows, (0, 0, 0, rest))
    return rows.unflatten(0, (-1, BLOCK)).transpose(1, 2).contiguous()
