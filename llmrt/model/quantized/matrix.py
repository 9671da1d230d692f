"""A matrix that a folder keeps quantized, as several tensors that stand for one. Free of torch.

    x.qweight, x.qzeros, x.scales, x.g_idx     is shown as     x.weight

Each tool's layout says which tensors those are and of what shape, so that what is missing or misshapen is known
from the headers.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from llmrt.errors import CheckpointError
from llmrt.model.quantized.kept_headers import ROUNDED
from llmrt.model.stored_tensor import StoredTensor
from llmrt.quant.scheme import QuantScheme

Shape = tuple[int, ...]

# As safetensors names them.
INT_WORDS, BYTES, SIGNED, FP8 = ("I32",), ("U8",), ("I8",), ("F8_E4M3",)
FLOATS = {"F32": "fp32", "BF16": "bf16", "F16": "fp16"}


class Member(NamedTuple):
    """One tensor of a matrix: the types and the shapes that it may have, any shape where none is named."""

    dtypes: tuple[str, ...]
    shapes: tuple[Shape, ...] = ()
    optional: bool = False


class Layout(Protocol):
    """How one matrix is kept. ``weight`` and ``scales`` are the names of two of its tensors after the module's."""

    @property
    def label(self) -> str:
        """As a person would say it: method, bits, groups."""
        ...

    @property
    def weight(self) -> str:
        """Without this tensor the module is not quantized."""
        ...

    @property
    def scales(self) -> str:
        """What the numbers are multiplied with."""
        ...

    @property
    def scheme(self) -> QuantScheme | None:
        """What the kernels keep its codes in, None where they have no codes for it."""
        ...

    def members(self, rows: int, columns: int) -> Mapping[str, Member]:
        """Every tensor that stands beside a module of a matrix [rows, columns], by its name after the module's."""
        ...


class Quantization(Protocol):
    """What quantization_config says; modules that it leaves out are told by their tensors."""

    @property
    def layouts(self) -> Sequence[Layout]:
        """All that there may be, the usual one first."""
        ...

    def layout_of(self, module: str, tensors: Container[str]) -> Layout:
        """How the matrix of ``module`` is kept if it is quantized, in a folder of ``tensors``."""
        ...


@dataclass(frozen=True)
class OneLayout:
    """See ``Quantization``: all matrices are kept alike."""

    layout: Layout

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The one."""
        return (self.layout,)

    def layout_of(self, module: str, tensors: Container[str]) -> Layout:
        """The one."""
        del module, tensors
        return self.layout


@dataclass(frozen=True)
class QuantizedMatrix:
    """The matrix ``name`` of ``shape`` [N, K]; ``members`` are its tensors by their names after the module's.

    ``dtype`` is that of its numbers.
    """

    name: str
    layout: Layout
    shape: tuple[int, int]
    dtype: str
    members: dict[str, StoredTensor]

    @property
    def module(self) -> str:
        """What its tensors' names begin with."""
        return self.name.removesuffix(".weight")

    def fault(self, member: str, what: str) -> CheckpointError:
        """The error that ``what`` is wrong with a tensor of it."""
        return CheckpointError(f"{self.members[member].file}: tensor {self.module}.{member} {what}.")


def find_matrices(
    inventory: Mapping[str, StoredTensor], shapes: Mapping[str, Shape], quantization: Quantization, dtype: str
) -> dict[str, QuantizedMatrix]:
    """The quantized ones among tensors of ``shapes``, by name.

    Their numbers are of their scales' type where that is one of 16 bits, else of ``dtype``. Raises
    ``CheckpointError`` for tensors that are missing, misshapen or of another type.
    """
    found: dict[str, QuantizedMatrix] = {}
    for name, shape in shapes.items():
        if len(shape) == 2 and name.endswith(".weight"):
            module, (rows, columns) = name.removesuffix(".weight"), shape
            layout = quantization.layout_of(module, inventory)
            wanted = layout.members(rows, columns)
            members = {key: held for key in wanted if (held := inventory.get(f"{module}.{key}"))}
            if f"{module}.bias" in shapes:
                members.pop("bias", None)
            if _is_quantized(layout, wanted, members):
                _check(module, layout, wanted, members)
                scales = members[layout.scales].dtype
                half = FLOATS[scales] if scales in ("F16", "BF16") else dtype
                found[name] = QuantizedMatrix(name, layout, (rows, columns), half, members)
    return found


def shown_whole(
    inventory: Mapping[str, StoredTensor], matrices: Mapping[str, QuantizedMatrix]
) -> dict[str, StoredTensor]:
    """``inventory`` with each of ``matrices`` in the place of its tensors, and with our names of types.

    A type that is not supported is an error once it is loaded.
    """
    owners = {f"{matrix.module}.{key}": matrix for matrix in matrices.values() for key in matrix.members}
    shown: dict[str, StoredTensor] = {}
    for name, stored in inventory.items():
        if (matrix := owners.get(name)) is None:
            shown[name] = stored._replace(dtype=FLOATS.get(stored.dtype, "fp32"))
        else:
            scheme = matrix.layout.scheme or ROUNDED
            shown[matrix.name] = StoredTensor(matrix.shape, stored.file, matrix.dtype, scheme=scheme)
    return shown


def _is_quantized(layout: Layout, wanted: Mapping[str, Member], members: Mapping[str, StoredTensor]) -> bool:
    weight = members.get(layout.weight)
    beside = any(key in members for key, member in wanted.items() if key != layout.weight and not member.optional)
    return weight is not None and (weight.dtype not in FLOATS or beside)


def _check(module: str, layout: Layout, wanted: Mapping[str, Member], members: Mapping[str, StoredTensor]) -> None:
    file = members[layout.weight].file
    for key, member in wanted.items():
        stored = members.get(key)
        if stored is None:
            if not member.optional:
                raise CheckpointError(f"{file}: the tensor {module}.{key} is missing; {layout.label} has one.")
            continue
        said = f"{stored.file}: tensor {module}.{key}"
        if stored.dtype not in member.dtypes:
            raise CheckpointError(
                f"{said} is of type {stored.dtype}; {layout.label} has it as {' or '.join(member.dtypes)}."
            )
        if member.shapes and stored.shape not in member.shapes:
            shapes = " or ".join(str(list(shape)) for shape in member.shapes)
            raise CheckpointError(f"{said} has shape {list(stored.shape)}; {layout.label} asks for {shapes}.")
