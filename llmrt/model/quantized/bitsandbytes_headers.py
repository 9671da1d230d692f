"""What bitsandbytes keeps: nf4 and fp4, whose codes are indices of a table, and int8. Free of torch.

nf4 and fp4, of a matrix of N * K numbers, row after row:

    weight                 uint8 [N * K / 2, 1]  two codes a byte, the first in the high half
    weight.quant_map       fp32 [16]             the number that each code stands for
    weight.absmax          fp32, one for each block of numbers, 64 as a rule
    weight.quant_state.bitsandbytes__nf4         JSON as bytes: blocksize, shape, dtype

    w[i] = quant_map[code[i]] * absmax[i // blocksize]

With double quantization absmax is uint8, indices of a table again, in blocks of 256:

    absmax[b] = nested_quant_map[absmax8[b]] * nested_absmax[b // 256] + nested_offset (which stands in the JSON)

int8:

    weight  int8 [N, K]      SCB  fp32 [N], the largest of each row      w[n, k] = weight[n, k] * SCB[n] / 127
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmrt.errors import CheckpointError
from llmrt.model.fields import Fields
from llmrt.model.quantized.kept_headers import kept_scheme
from llmrt.model.quantized.matrix import BYTES, FLOATS, SIGNED, Member, OneLayout
from llmrt.quant.scheme import QuantScheme

KINDS = ("nf4", "fp4")


@dataclass(frozen=True)
class TableLayout:
    """``kind`` is nf4 or fp4; ``nested`` with double quantization."""

    kind: str
    nested: bool
    weight: str = "weight"
    scales: str = "weight.absmax"

    @property
    def label(self) -> str:
        """Method and kind."""
        return f"bitsandbytes, {self.kind}" + (", double quantization" if self.nested else "")

    @property
    def scheme(self) -> None:
        """The kernels have no tables: its numbers are rounded to codes of int8."""

    @property
    def state(self) -> str:
        """The tensor that holds the JSON."""
        return f"weight.quant_state.bitsandbytes__{self.kind}"

    def members(self, rows: int, columns: int) -> Mapping[str, Member]:
        """How many numbers a block has is known from the JSON alone."""
        size = -(-rows * columns // 2)
        # bnb_4bit_quant_storage: the same bytes under the name of another type.
        shapes = tuple((size // width, 1) for width in (1, 2, 4) if size % width == 0)
        nested = {
            "weight.nested_absmax": Member(("F32",)),
            "weight.nested_quant_map": Member(("F32",), ((256,),)),
        }
        return {
            "weight": Member(("U8", "BF16", "F16", "F32"), shapes),
            "weight.absmax": Member(BYTES if self.nested else ("F32",)),
            "weight.quant_map": Member(("F32",), ((16,),)),
            self.state: Member(BYTES),
            **(nested if self.nested else {}),
        }


@dataclass(frozen=True)
class Int8Layout:
    """See above."""

    weight: str = "weight"
    scales: str = "SCB"

    @property
    def label(self) -> str:
        """Method and bits."""
        return "bitsandbytes, int8"

    @property
    def scheme(self) -> QuantScheme | None:
        """A scale a row."""
        return kept_scheme(8, 0, symmetric=True)

    def members(self, rows: int, columns: int) -> Mapping[str, Member]:
        """``weight_format`` says 0: in rows, the only form that is saved."""
        return {
            "weight": Member(SIGNED, ((rows, columns),)),
            "SCB": Member(tuple(FLOATS), ((rows,),)),
            "weight_format": Member((*BYTES, *SIGNED), ((),), optional=True),
        }


def read_bitsandbytes(fields: Fields) -> OneLayout:
    """quant_method bitsandbytes. Raises ``CheckpointError`` for what is not supported."""
    if fields.get("load_in_8bit", bool, False):
        return OneLayout(Int8Layout())
    if not fields.get("load_in_4bit", bool, False):
        raise CheckpointError(f"{fields.where}: neither load_in_4bit nor load_in_8bit is true; one of them must be.")
    kind = fields.get("bnb_4bit_quant_type", str, "fp4")
    if kind not in KINDS:
        raise CheckpointError(f"{fields.where}: bnb_4bit_quant_type is {kind!r}; known are {', '.join(KINDS)}.")
    return OneLayout(TableLayout(kind, fields.get("bnb_4bit_use_double_quant", bool, False)))
