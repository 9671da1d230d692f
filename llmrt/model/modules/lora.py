"""What LoRA adapters add to the decoder's products (https://arxiv.org/abs/2106.09685). Several may be in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmrt.ops.registry import resolve
from llmrt.ops.table import LORA
from llmrt.ops.types import Activations, OpSpec
from llmrt_kernels.low_rank import LowRank, LowRankTable, TableForm
from llmrt_kernels.packed import BLOCK, Matrix, in_blocks


class Lora(nn.Module):
    """What adapters add to one product of ``out_features``: nothing until some are put here, each under its number."""

    def __init__(self, out_features: int, spec: OpSpec) -> None:
        super().__init__()
        self._spec = spec
        self._lora = partial(resolve(LORA, spec), dtype=spec.stream)
        self.table, self._compiled = LowRankTable(out_features, ()), TableForm()

    def forward(self, x: Activations, adapters: Tensor | None, residual: Tensor | None = None) -> Tensor | None:
        """x [T, in_features], adapters [T] -> the residual [T, out_features] and what each row's adapter adds."""
        if adapters is None or not any(self.table.adapters):
            return residual
        return self._lora(x, adapters, self.table, residual)

    @property
    def is_compiled(self) -> bool:
        """Whether steps launch nothing that those before ``note_compiled`` did not."""
        return self.table.form == self._compiled

    def note_compiled(self) -> None:
        """Steps were taken with the adapters that are here. Whoever leaves them, the next ones launch the same."""
        self._compiled = self.table.form

    def put(self, number: int, pieces: Sequence[LowRank]) -> None:
        """Have adapter ``number`` add ``pieces``. A table that a step reads is never changed: this makes another."""
        adapters = [*self.table.adapters, *[()] * (number + 1 - len(self.table.adapters))]
        adapters[number] = tuple(pieces)
        while adapters and not adapters[-1]:  # one that was refused must not count
            adapters.pop()
        self.table = LowRankTable(self.table.rows, tuple(adapters), self._compiled)

    def low_rank(self, a: Tensor, b: Tensor, start: int) -> LowRank:
        """a [R, K] and b [N, R], which add b (a x) to the outputs from ``start`` on, as the kernels take them.

        They stay as exact as the products that they go with: fp32 for fp32 ones, else bf16.
        """
        exact = self._spec.dtype == torch.float32 and not self._spec.group
        dtype, padding = torch.float32 if exact else torch.bfloat16, -len(a) % BLOCK
        a, b = F.pad(a, (0, 0, 0, padding)).to(dtype), F.pad(b, (0, padding)).to(dtype)
        return LowRank(self._matrix(a), self._matrix(b), start)

    def _matrix(self, weight: Tensor) -> Matrix:
        whole = F.pad(weight, (0, 0, 0, -len(weight) % BLOCK))
        data = in_blocks(whole).contiguous().to(self._spec.device)
        return Matrix(data, None, 8 * data.element_size(), len(weight))


def loras_of(decoder: nn.Module) -> list[Lora]:
    """Those of all its products."""
    return [module for module in decoder.modules() if isinstance(module, Lora)]


def remove_adapter(decoder: nn.Module, number: int) -> None:
    """Forget the adapter ``number`` and its matrices."""
    for lora in loras_of(decoder):
        lora.put(number, ())
