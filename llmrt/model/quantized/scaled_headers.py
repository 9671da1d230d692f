"""Matrices that keep their place and shape, in a byte a number, with scales beside them. Free of torch.

    weight              fp8 e4m3 or int8 [N, K]
    weight_scale        of one number for all, one a row, or one a block of rows and columns; some call it
                        weight_scale_inv or qscale_weight
    weight_zero_point   int8, of the scales' shape, where int8 is not symmetric

    w[n, k] = scale * (weight[n, k] - zero)

This is quant_method fp8 and fbgemm_fp8, and compressed-tensors' float-quantized, int-quantized and naive-quantized.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

from llmrt.errors import CheckpointError
from llmrt.model.fields import Fields
from llmrt.model.quantized.kept_headers import kept_scheme
from llmrt.model.quantized.matrix import FLOATS, FP8, SIGNED, Member, OneLayout, Shape
from llmrt.quant.scheme import QuantScheme

# What the tool measured of activations and of keys and values, for kernels that round those to 8 bits; ours do not.
ACTIVATIONS = (
    *("input_scale", "input_zero_point", "activation_scale", "input_scale_ub"),
    *("output_scale", "output_zero_point", "k_scale", "v_scale", "kv_scale", "qscale_act"),
)
SCALES = ("weight_scale_inv", "weight_scale", "qscale_weight")


@dataclass(frozen=True)
class ScaledLayout:
    """``block`` of rows and columns that share a scale, None where a row or all numbers do.

    ``stored`` is the type of the numbers, as safetensors names it.
    """

    method: str
    stored: str
    scales: str = "weight_scale"
    block: tuple[int, int] | None = None
    zeros: bool = False
    weight: str = "weight"

    @property
    def label(self) -> str:
        """Method, type, blocks."""
        kind = "fp8" if (self.stored,) == FP8 else "int8"
        method = kind if kind == self.method else f"{self.method}, {kind}"
        return method + (f", blocks of {self.block[0]} x {self.block[1]}" if self.block else "")

    @property
    def scheme(self) -> QuantScheme | None:
        """Of int8 with a scale a row, or a group of a row."""
        rows, columns = self.block or (1, 0)
        if (self.stored,) == FP8 or rows > 1:
            return None
        return kept_scheme(8, columns, symmetric=not self.zeros)

    def members(self, rows: int, columns: int) -> Mapping[str, Member]:
        """A scale of all or of each row is known by its shape."""
        shapes: tuple[Shape, ...] = ((), (1,), (1, 1), (rows,), (rows, 1))
        if self.block is not None:
            shapes = ((-(-rows // self.block[0]), -(-columns // self.block[1])),)
        return {
            "weight": Member((self.stored,), ((rows, columns),)),
            self.scales: Member(tuple(FLOATS), shapes),
            **({"weight_zero_point": Member(SIGNED, shapes)} if self.zeros else {}),
            **{name: Member((*FLOATS, *SIGNED), optional=True) for name in ACTIVATIONS},
        }


@dataclass(frozen=True)
class Fp8(OneLayout):
    """One layout for all, but for what the scales are called."""

    layout: ScaledLayout

    def layout_of(self, module: str, tensors: Container[str]) -> ScaledLayout:
        """Scales of blocks are called weight_scale_inv, and so are some that are not."""
        there = (name for name in SCALES if f"{module}.{name}" in tensors)
        return replace(self.layout, scales=next(there, SCALES[0] if self.layout.block else SCALES[1]))


def read_fp8(fields: Fields) -> Fp8:
    """quant_method fp8 or fbgemm_fp8. Raises ``CheckpointError`` for what is not supported."""
    form = fields.get("fmt", str, "e4m3")
    if form != "e4m3":
        raise CheckpointError(f"{fields.where}: fmt is {form!r}; supported is e4m3, so use another copy of the model.")
    return Fp8(ScaledLayout("fp8", *FP8, block=block_of(fields, "weight_block_size")))


def read_mistral(fields: Fields) -> Fp8:
    """What params.json says under quantization. Raises ``CheckpointError`` for what is not supported."""
    form = fields.get("qformat_weight", str, "")
    if form != "fp8_e4m3":
        raise CheckpointError(f"{fields.where}: qformat_weight is {form!r}; supported is fp8_e4m3.")
    return Fp8(ScaledLayout("fp8", *FP8))


def block_of(fields: Fields, name: str) -> tuple[int, int] | None:
    """Rows and columns, None where the field is null. Raises ``CheckpointError`` unless they are two above 0."""
    block = fields.integers(name)
    if not block:
        return None
    if len(block) != 2 or min(block) < 1:
        raise CheckpointError(f"{fields.where}: {name} is {block}; it must be two numbers above 0.")
    return block[0], block[1]
