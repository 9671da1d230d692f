"""Matrices of whole numbers that GPTQ and AWQ keep in words of 32 bits. Free of torch.

GPTQ, of a matrix [N, K] with groups of G columns:

    qweight  int32 [K * bits / 32, N]      codes of column n, from k = 0 on, from the lowest bits of the first word on
    qzeros   int32 [K / G, N * bits / 32]  zero of group and row, packed along N; less one, but in format gptq_v2
    scales   fp16  [K / G, N]
    g_idx    int32 [K]                     the group of each column: k // G, or another with desc_act

    w[n, k] = scales[g, n] * (code[n, k] - zero[g, n])      g = g_idx[k]

AWQ (its gemm form) packs along N throughout, and puts 8 columns into a word in the order 0 2 4 6 1 3 5 7:

    qweight  int32 [K, N * bits / 32]
    qzeros   int32 [K / G, N * bits / 32]  as they are
    scales   fp16  [K / G, N]
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

from llmrt.errors import CheckpointError
from llmrt.model.fields import Fields
from llmrt.model.quantized.kept_headers import kept_scheme
from llmrt.model.quantized.matrix import FLOATS, INT_WORDS, Member, OneLayout
from llmrt.quant.scheme import QuantScheme

GPTQ_BITS = (2, 3, 4, 8)


def num_groups(columns: int, group: int) -> int:
    """Groups of a row; ``group`` is 0 for one."""
    return -(-columns // group) if group else 1


def in_words(count: int, bits: int) -> int:
    """Words of 32 bits that ``count`` codes take."""
    return -(-count * bits // 32)


def grouping(bits: int, group: int) -> str:
    """Such as "4 bits, groups of 128"."""
    return f"{bits} bits, " + (f"groups of {group}" if group else "a scale for each row")


@dataclass(frozen=True)
class GptqLayout:
    """See above; ``first_zero`` is what a stored zero of 0 stands for, and ``group`` 0 for all columns.

    With ``ordered`` columns may be of any group; where it is ``symmetric`` all zeros are the middle.
    """

    bits: int
    group: int
    first_zero: int
    symmetric: bool
    ordered: bool
    weight: str = "qweight"
    scales: str = "scales"

    @property
    def label(self) -> str:
        """Method, bits, groups."""
        return f"GPTQ, {grouping(self.bits, self.group)}" + (", act-order" if self.ordered else "")

    @property
    def scheme(self) -> QuantScheme | None:
        """None of columns in any order."""
        return None if self.ordered else kept_scheme(self.bits, self.group, symmetric=self.symmetric)

    def members(self, rows: int, columns: int) -> Mapping[str, Member]:
        """The bias is one that AutoGPTQ writes even where the model has none, all zeros."""
        groups = num_groups(columns, self.group)
        return {
            "qweight": Member(INT_WORDS, ((in_words(columns, self.bits), rows),)),
            "qzeros": Member(INT_WORDS, ((groups, in_words(rows, self.bits)),)),
            "scales": Member(tuple(FLOATS), ((groups, rows),)),
            "g_idx": Member(INT_WORDS, ((columns,),), optional=True),
            "bias": Member(tuple(FLOATS), ((rows,),), optional=True),
        }


@dataclass(frozen=True)
class AwqLayout:
    """See above."""

    bits: int
    group: int
    weight: str = "qweight"
    scales: str = "scales"

    @property
    def label(self) -> str:
        """Method, bits, groups."""
        return f"AWQ, {grouping(self.bits, self.group)}"

    @property
    def scheme(self) -> QuantScheme | None:
        """With offsets for the zeros."""
        return kept_scheme(self.bits, self.group, symmetric=False)

    def members(self, rows: int, columns: int) -> Mapping[str, Member]:
        """All of them."""
        groups, words = num_groups(columns, self.group), in_words(rows, self.bits)
        return {
            "qweight": Member(INT_WORDS, ((columns, words),)),
            "qzeros": Member(INT_WORDS, ((groups, words),)),
            "scales": Member(tuple(FLOATS), ((groups, rows),)),
        }


@dataclass(frozen=True)
class Gptq:
    """A layout, and others for modules that match a pattern."""

    usual: GptqLayout
    others: tuple[tuple[str, GptqLayout], ...] = ()

    @property
    def layouts(self) -> tuple[GptqLayout, ...]:
        """All of them."""
        return self.usual, *(layout for _, layout in self.others)

    def layout_of(self, module: str, tensors: Container[str]) -> GptqLayout:
        """The first pattern that matches decides, as in GPTQModel."""
        return next((layout for pattern, layout in self.others if re.match(pattern, module)), self.usual)


def read_gptq(fields: Fields) -> Gptq:
    """quant_method gptq. Raises ``CheckpointError`` for what is not supported."""
    form = fields.get("checkpoint_format", str, "gptq")
    if form not in ("gptq", "gptq_v2"):
        raise CheckpointError(
            f"{fields.where}: checkpoint_format is {form!r}; supported are gptq and gptq_v2, so use such a copy."
        )
    group, first_zero = _group(fields), 1 if form == "gptq" else 0
    ordered = fields.get("desc_act", bool, False) and not fields.get("static_groups", bool, False) and group > 0
    symmetric = fields.get("sym", bool, False)
    usual = GptqLayout(_bits(fields, GPTQ_BITS), group, first_zero, symmetric, ordered)
    dynamic = fields.inside("dynamic")
    return Gptq(usual, tuple(_others(dynamic, usual)) if dynamic else ())


def _others(dynamic: Fields, usual: GptqLayout) -> list[tuple[str, GptqLayout]]:
    """Rules by regular expression: after +: or nothing for other numbers, after -: for modules that are left alone."""
    found: list[tuple[str, GptqLayout]] = []
    for rule in dynamic:
        changes = dynamic.inside(rule)
        if changes is not None and not rule.startswith("-:"):
            bits, group = _bits(changes, GPTQ_BITS, usual.bits), _group(changes, usual.group)
            found.append((_pattern(dynamic, rule), replace(usual, bits=bits, group=group)))
    return found


def _pattern(dynamic: Fields, rule: str) -> str:
    pattern = rule.removeprefix("+:")
    try:
        re.compile(pattern)
    except re.error as error:
        raise CheckpointError(f"{dynamic.where}: {rule!r} is not a regular expression: {error}.") from None
    return pattern


def read_awq(fields: Fields) -> OneLayout:
    """quant_method awq. Raises ``CheckpointError`` for what is not supported."""
    form = fields.get("version", str, "gemm").lower()
    if form != "gemm":
        raise CheckpointError(f"{fields.where}: version is {form!r}; supported is gemm, so use a copy in that form.")
    return OneLayout(AwqLayout(_bits(fields, (4,)), _group(fields)))


def _bits(fields: Fields, known: tuple[int, ...], default: int | None = None) -> int:
    bits = fields.size("bits", default if default is not None else fields.size("w_bit") if "w_bit" in fields else None)
    if bits not in known:
        raise CheckpointError(
            f"{fields.where}: bits is {bits}; supported here are {', '.join(map(str, known))}, so use such a copy."
        )
    return bits


def _group(fields: Fields, default: int | None = None) -> int:
    """0 for one group, which is written as -1."""
    name = "q_group_size" if "q_group_size" in fields else "group_size"
    group = fields.require(name, int) if default is None or name in fields else default
    if group == -1:
        return 0
    if group < 1 and default is None:
        raise CheckpointError(f"{fields.where}: {name} is {group}; it must be above 0, or -1.")
    return group
