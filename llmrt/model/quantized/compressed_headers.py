"""What compressed-tensors keeps: groups of modules, each with its own bits and format. Free of torch.

pack-quantized, of a matrix [N, K] with groups of G columns:

    weight_packed      int32 [N, K * bits / 32]  codes of row n, from the lowest bits of the first word on
    weight_scale       [N, K / G], or of one number a row, or one of all
    weight_zero_point  int32 [N * bits / 32, K / G], packed along N, or int8 as they are; where it is not symmetric
    weight_shape       int64 [2], N and K
    weight_g_idx       int32 [K], the group of each column, with actorder "group"

    w[n, k] = scale[n, g] * (code[n, k] - zero[n, g])       zero = 2^(bits - 1) where it is symmetric

The other formats are those of ``scaled_headers.py``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass

from llmrt.errors import CheckpointError
from llmrt.model.fields import Fields
from llmrt.model.quantized.grouped_headers import grouping, in_words, num_groups
from llmrt.model.quantized.kept_headers import kept_scheme
from llmrt.model.quantized.matrix import FLOATS, FP8, INT_WORDS, SIGNED, Layout, Member
from llmrt.model.quantized.scaled_headers import ACTIVATIONS, ScaledLayout, block_of
from llmrt.quant.scheme import QuantScheme

METHOD = "compressed-tensors"
FORMATS = ("pack-quantized", "int-quantized", "float-quantized", "naive-quantized")
PACKED_BITS = (2, 4, 8)
EVERYTHING = "Linear"


@dataclass(frozen=True)
class PackedLayout:
    """See above; ``group`` is 0 for all columns, and with ``ordered`` they may be of any group."""

    bits: int
    group: int
    symmetric: bool
    ordered: bool
    weight: str = "weight_packed"
    scales: str = "weight_scale"

    @property
    def label(self) -> str:
        """Method, bits, groups."""
        return f"{METHOD}, {grouping(self.bits, self.group)}" + (", act-order" if self.ordered else "")

    @property
    def scheme(self) -> QuantScheme | None:
        """None of columns in any order."""
        return None if self.ordered else kept_scheme(self.bits, self.group, symmetric=self.symmetric)

    def members(self, rows: int, columns: int) -> Mapping[str, Member]:
        """A scale of all numbers is known by its shape."""
        groups = num_groups(columns, self.group)
        zeros = Member((*INT_WORDS, *SIGNED), ((in_words(rows, self.bits), groups), (rows, groups)))
        return {
            "weight_packed": Member(INT_WORDS, ((rows, in_words(columns, self.bits)),)),
            "weight_scale": Member(tuple(FLOATS), ((rows, groups), *(() if self.group else ((rows,), (1,))))),
            "weight_shape": Member(("I64", "I32"), ((2,),)),
            **({} if self.symmetric else {"weight_zero_point": zeros}),
            "weight_g_idx": Member(INT_WORDS, ((columns,),), optional=True),
            **{name: Member((*FLOATS, *SIGNED), optional=True) for name in ACTIVATIONS},
        }


@dataclass(frozen=True)
class CompressedTensors:
    """Layouts, each with its targets: names of modules, patterns of them after "re:", or "Linear" for all."""

    groups: tuple[tuple[tuple[str, ...], Layout], ...]

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """Those of all groups."""
        return tuple(layout for _, layout in self.groups)

    def layout_of(self, module: str, tensors: Container[str]) -> Layout:
        """That of the group which names the module most closely."""
        del tensors
        named = (layout for targets, layout in self.groups if any(_names(target, module) for target in targets))
        everything = (layout for targets, layout in self.groups if EVERYTHING in targets)
        return next(named, None) or next(everything, self.groups[0][1])


def _names(target: str, module: str) -> bool:
    if target.startswith("re:"):
        return re.match(target.removeprefix("re:"), module) is not None
    return module == target or module.endswith(f".{target}")


def read_compressed(fields: Fields) -> CompressedTensors:
    """quant_method compressed-tensors. Raises ``CheckpointError`` for what is not supported."""
    sparsity = fields.inside("sparsity_config")
    if sparsity is not None and sparsity.get("format", str, "dense") != "dense":
        raise CheckpointError(f"{sparsity.where}: sparse weights are not supported; use a copy without them.")
    groups = fields.inside("config_groups")
    if groups is None or not list(groups):
        raise CheckpointError(f"{fields.where}: the field config_groups is missing.")
    return CompressedTensors(tuple(_group(fields, group) for name in groups if (group := groups.inside(name))))


def _group(fields: Fields, group: Fields) -> tuple[tuple[str, ...], Layout]:
    targets, weights = tuple(group.strings("targets")), group.inside("weights")
    for pattern in (target.removeprefix("re:") for target in targets if target.startswith("re:")):
        try:
            re.compile(pattern)
        except re.error as error:
            raise CheckpointError(f"{group.where}: the target {pattern!r} is no regular expression: {error}.") from None
    if weights is None:
        raise CheckpointError(f"{group.where}: the field weights is missing.")
    form = group.get("format", str, fields.get("format", str, "dense"))
    if form not in FORMATS:
        raise CheckpointError(
            f"{fields.where}: format is {form!r}; supported are {', '.join(FORMATS)}, so use a copy in one of them."
        )
    return targets, _packed(weights) if form == "pack-quantized" else _scaled(weights)


def _packed(weights: Fields) -> PackedLayout:
    group, symmetric = _columns(weights), weights.get("symmetric", bool, True)
    ordered = group > 0 and weights.get("actorder", str, "") in ("group", "dynamic")
    return PackedLayout(_bits(weights, PACKED_BITS), group, symmetric, ordered)


def _scaled(weights: Fields) -> ScaledLayout:
    kind = weights.get("type", str, "int").lower()
    if kind not in ("int", "float"):
        raise CheckpointError(f"{weights.where}: type is {kind!r}; known are int and float.")
    _bits(weights, (8,))
    columns = _columns(weights)
    block = (1, columns) if columns else block_of(weights, "block_structure")
    zeros = kind == "int" and not weights.get("symmetric", bool, True)
    return ScaledLayout(METHOD, *(SIGNED if kind == "int" else FP8), block=block, zeros=zeros)


def _bits(weights: Fields, known: tuple[int, ...]) -> int:
    bits = weights.size("num_bits", 8)
    if bits not in known:
        supported = ", ".join(map(str, known))
        raise CheckpointError(
            f"{weights.where}: num_bits is {bits}; supported here are {supported}, so use another copy of the model."
        )
    return bits


def _columns(weights: Fields) -> int:
    """Of a group, 0 where a scale is one row's or all numbers'."""
    strategy = weights.get("strategy", str, "group" if "group_size" in weights else "tensor")
    if strategy not in ("tensor", "channel", "group", "block"):
        raise CheckpointError(f"{weights.where}: strategy is {strategy!r}; known are tensor, channel, group and block.")
    group = weights.get("group_size", int, -1)
    return weights.size("group_size") if strategy == "group" and group != -1 else 0
