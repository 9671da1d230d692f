"""What headers say of a tensor. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from llmrt.quant.scheme import QuantScheme


class Part(NamedTuple):
    """Rows ``start`` to ``end`` of each of ``groups`` equal groups of the rows of ``tensor``, maybe ``transposed``."""

    tensor: str
    groups: int
    start: int
    end: int
    transposed: bool


class StoredTensor(NamedTuple):
    """What a file says it holds; ``dtype`` (fp32, bf16 or fp16) is what it is loaded as.

    ``part`` says what it is of a tensor of the file, None for one that stands alone. ``scheme`` is what a
    quantized matrix becomes for the kernels, its codes as they are or rounded to it, None of floats. ``kind`` is the
    file's name for the type.
    """

    shape: tuple[int, ...]
    file: Path
    dtype: str = "fp32"
    part: Part | None = None
    scheme: QuantScheme | None = None
    kind: str = ""
