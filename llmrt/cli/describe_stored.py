"""What becomes of the matrices of a GGUF file that is quantized, known from its headers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from llmrt.engine.hardware.gpus import auto_device
from llmrt.model.checkpoints.kept import kept_schemes, stored_group
from llmrt.model.checkpoints.tensor_slots import tensor_slots
from llmrt.quant.scheme import QuantScheme


@dataclass(frozen=True, kw_only=True)
class StoredMatrices:
    """Those of one type in the file; ``kept`` names what this machine multiplies with, ``bits`` a weight of it."""

    type: str
    num_tensors: int
    kept: str
    bits: float

    def __str__(self) -> str:
        matrices = "1 matrix" if self.num_tensors == 1 else f"{self.num_tensors} matrices"
        return f"{self.type}: {matrices}, kept as {self.kept}, {self.bits:g} bits a weight"


def stored_matrices(gguf: Path) -> list[StoredMatrices]:
    """Those of the file ``gguf``, most numbers first; none if all are floats. Raises ``CheckpointError``."""
    from llmrt.model.checkpoints.gguf.headers import (
        GgufHeaders,  # with the gguf library, which other models are shown without
    )

    headers = GgufHeaders(gguf)
    if not stored_group(headers.inventory):
        return []
    slots = tensor_slots(headers.config, headers.names)
    tensors, numbers = Counter[tuple[str, QuantScheme]](), Counter[tuple[str, QuantScheme]]()
    for name, scheme in kept_schemes(headers.inventory, slots, auto_device()).items():
        key = headers.inventory[name].kind, scheme
        tensors[key] += 1
        numbers[key] += math.prod(slots[name].shape)
    return [_matrices(*key, tensors[key]) for key, _ in numbers.most_common()]


def _matrices(kind: str, scheme: QuantScheme, num_tensors: int) -> StoredMatrices:
    offsets = " with offsets" if scheme.affine else ""
    rounded = f"int{scheme.bits}{offsets} in groups of {scheme.group}"
    return StoredMatrices(
        type=kind,
        num_tensors=num_tensors,
        kept="its own codes and scales" if scheme.form else rounded,
        bits=scheme.bits_per_weight,
    )
