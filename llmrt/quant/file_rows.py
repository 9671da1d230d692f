"""A matrix that a GGUF file has in codes, in the rows of the file: they are read when it is packed, and not before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from llmrt.ops.rules import forced_backend, native_library
from llmrt.quant.packed_weight import PackedWeight, packed_weight
from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.cpu.repack import FILE_TYPES, repack
from llmrt_kernels.layout import BLOCK


@dataclass(frozen=True)
class FileRows:
    """``addresses`` int64 [N], or [E, N] of experts, of rows of K ``columns`` in blocks of the file's ``kind``.

    ``scheme`` is the one that the kernels keep such codes in. ``memory`` holds the rows; who joins others to them keeps
    what holds those until all are packed.
    """

    addresses: Tensor
    columns: int
    kind: int
    scheme: QuantScheme
    memory: object

    @property
    def group(self) -> int:
        """As of a packed weight."""
        return self.scheme.group

    @property
    def shape(self) -> tuple[int, int]:
        """N rows, those of experts one above the other in whole blocks, and K."""
        rows = len(self.addresses) if self.addresses.dim() == 1 else self.tensors[0].numel()
        return rows, self.columns

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The addresses in blocks, [N/16, 16]; a matrix's last one fills its last block."""
        rest = -self.addresses.shape[-1] % BLOCK
        last = self.addresses[..., -1:].expand(*self.addresses.shape[:-1], rest)
        return (torch.cat((self.addresses, last), dim=-1).view(-1, BLOCK),)

    def of_blocks(self, tensors: Sequence[Tensor]) -> FileRows:
        """Other rows of the same kind, in whole blocks."""
        return replace(self, addresses=tensors[0].flatten())

    def with_rows(self, change: Callable[[Tensor], Tensor]) -> FileRows:
        """What ``change`` makes of the rows."""
        return replace(self, addresses=change(self.addresses))

    def pack(self) -> PackedWeight:
        """As the kernels take it."""
        lines, groups = self.scheme.words_of(self.columns), self.columns // self.scheme.scale_columns
        data, scales, offsets = repack(
            self.tensors[0], self.columns, self.kind, lines=lines, groups=groups, affine=self.scheme.affine
        )
        return packed_weight([t for t in (data, scales, offsets) if t is not None], self.scheme, self.shape)


def can_repack(kind: int) -> bool:
    """Whether the native kernels are there, and read codes of the file's ``kind``."""
    return kind in FILE_TYPES and forced_backend() in (None, "cpu") and native_library() is not None
