"""What LoRA adapters add to a product, y = r + b (a x), by the adapter of each token. The contract is the reference's.

``shrink`` leaves a x in memory, and ``expand`` multiplies it with b and adds it. Both find the matrices by their
addresses, as the grouped products of https://arxiv.org/abs/2310.18547 do:

    table   int64 [adapters + 1, pieces, 5]  addresses of a and b, rank, first output, outputs; the last row is zero
    shrunk  fp32 [splits, T, pieces, R]      what each split of the columns adds to a x

Matrices are in blocks of 16 rows (``reference/linear_packed.py``) and read as words: two columns of bf16, one of fp32.
A few tokens are a tile each, whose products need no matrix units. Many are sorted into tiles of one adapter.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.low_rank import LowRank, LowRankTable
from llmrt_kernels.packed import Codes
from llmrt_kernels.triton.codes import PAD
from llmrt_kernels.triton.expert_tiles import tiles_of
from llmrt_kernels.triton.integers import cdiv, next_power_of_2
from llmrt_kernels.triton.product_dot4 import BLOCK
from llmrt_kernels.triton.variant import Variant

FIELDS = tl.constexpr(5)  # of a piece in the table
MOST_RANKS = 32  # rows of a that a program has at a time


@dataclass(frozen=True)
class Cut:
    """A tile of ``tokens``: ``shrink`` takes ``columns`` at a time, ``split`` a program; ``expand`` has ``rows``, and
    takes ``ranks`` at a time.

    Of matrices in fp32 ``shrink`` takes half as many columns at a time, or it would lack registers.
    """

    tokens: int
    columns: int
    split: int
    rows: int
    ranks: int


FEW, MANY = Cut(1, 128, 1024, 64, 32), Cut(64, 64, 1 << 30, 32, 16)
FEW_TOKENS = 64  # up to which each is a tile


class Table:
    """A table as the kernels read it, on the device of its matrices."""

    def __init__(self, table: LowRankTable) -> None:
        pieces = [piece for adapter in table.adapters for piece in adapter]
        self.count, self.room = len(table.adapters), table.form.adapters
        self.num_pieces, self.ranks = table.form.pieces, table.form.ranks
        self.ranks_at_once = min(next_power_of_2(self.ranks), MOST_RANKS)
        _, self.lines, _, self.pair = pieces[0].a.data.shape
        self.aligned = table.form.aligned
        entries = torch.zeros(self.count + 1, self.num_pieces, FIELDS.value, dtype=torch.int64)
        for adapter, row in zip(table.adapters, entries, strict=False):
            row[: len(adapter)] = torch.tensor([*map(_entry, adapter)], dtype=torch.int64).view(-1, FIELDS.value)
        self.entries = entries.to(pieces[0].a.data.device)

    @property
    def sizes(self) -> dict[str, int]:
        """What both kernels are compiled for."""
        blocks = cdiv(self.ranks, self.ranks_at_once)
        return {"PIECES": self.num_pieces, "RANK": blocks * self.ranks_at_once}


def _entry(piece: LowRank) -> tuple[int, int, int, int, int]:
    return piece.a.data.data_ptr(), piece.b.data.data_ptr(), piece.a.rows, piece.start, piece.b.rows


_tables: WeakKeyDictionary[LowRankTable, Table] = WeakKeyDictionary()


def lora(
    x: Tensor | Codes, adapters: Tensor, table: LowRankTable, residual: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """x [T, K], adapters [T] int64, residual [T, N] -> [T, N] of ``dtype``."""
    own = _on_device(table)
    tokens, cut = len(adapters), FEW if len(adapters) <= FEW_TOKENS else MANY
    tiles, of_tiles = _tiles(adapters, own, cut)
    columns = own.lines * own.pair
    splits = cdiv(columns, cut.split)
    shrunk = torch.empty(splits, tokens, own.num_pieces, own.sizes["RANK"], device=adapters.device)
    y = torch.empty(tokens, table.rows, dtype=dtype, device=adapters.device)
    values, scales, group = (x, None, 0) if isinstance(x, Tensor) else (x.codes, x.scales, x.group)
    sizes = {**own.sizes, "BM": cut.tokens, "PAIR": own.pair}
    shrink_kernel[(tiles, own.num_pieces * own.sizes["RANK"] // own.ranks_at_once, splits)](
        values,
        scales,
        *of_tiles,
        own.entries,
        shrunk,
        tokens,
        own.count,
        K=columns,
        GROUP=group,
        BR=own.ranks_at_once,
        BK=cut.columns // 2 * own.pair,
        SPLIT=min(cut.split, columns),
        **sizes,
    )
    expand_kernel[(tiles, cdiv(table.rows, cut.rows))](
        shrunk,
        *of_tiles,
        own.entries,
        residual,
        y,
        tokens,
        own.count,
        N=table.rows,
        SPLITS=splits,
        BR=min(own.ranks_at_once, cut.ranks),
        BN=cut.rows,
        ALIGN=BLOCK.value if own.aligned else 1,
        **sizes,
    )
    return y


def _on_device(table: LowRankTable) -> Table:
    """Made once, before a graph is recorded: a graph reads it where it is."""
    own = _tables.get(table)
    if own is None:
        own = _tables[table] = Table(table)
    return own


def _tiles(adapters: Tensor, own: Table, cut: Cut) -> tuple[int, tuple[Tensor, Tensor | None]]:
    """How many tiles there are, the adapter of each, and its tokens if it has several."""
    if cut.tokens == 1:
        return len(adapters), (adapters, None)
    known = torch.where((adapters >= 0) & (adapters < own.count), adapters, own.count)
    tiles = tiles_of(known.unsqueeze(1), own.count + 1, cut.tokens, own.room)
    return tiles.count, tiles.tensors


@triton.jit(do_not_specialize=["tokens", "count"])
def shrink_kernel(
    x_ptr,
    x_scales_ptr,
    adapters_ptr,
    tile_tokens_ptr,
    table_ptr,
    shrunk_ptr,
    tokens,
    count,
    K: tl.constexpr,
    GROUP: tl.constexpr,
    PIECES: tl.constexpr,
    RANK: tl.constexpr,
    BR: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
    SPLIT: tl.constexpr,
    PAIR: tl.constexpr,
):
    """A program computes BR values of a x of one piece for a tile of tokens, or what SPLIT of the columns add."""
    adapter, token = tile_of(adapters_ptr, tile_tokens_ptr, count, BM)
    if adapter < 0:
        return
    piece = tl.program_id(1) // (RANK // BR)
    first = tl.program_id(1) % (RANK // BR) * BR
    entry_ptr = table_ptr + (adapter * PIECES + piece) * FIELDS
    rank = tl.load(entry_ptr + 2)
    if first >= rank:
        return
    a_ptr = matrix_at(entry_ptr)
    r = first + tl.arange(0, BR)
    total = tl.zeros([BR, BK] if BM == 1 else [BM, BR], tl.float32)
    begin = tl.program_id(2) * SPLIT
    for start in range(begin, tl.minimum(begin + SPLIT, K), BK):
        a = rows_of(a_ptr, r, r < rank, start, BK, K, PAIR)
        x = activations(x_ptr, x_scales_ptr, token, start, BK, K, GROUP)
        if BM == 1:
            total += a * x
        else:
            total = multiply(x, a, total, PAIR)
    result = tl.sum(total, 1)[None, :] if BM == 1 else total
    at = (tl.program_id(2).to(tl.int64) * tokens + token) * PIECES + piece
    tl.store(shrunk_ptr + at[:, None] * RANK + r[None, :], result)


@triton.jit(do_not_specialize=["tokens", "count"])
def expand_kernel(
    shrunk_ptr,
    adapters_ptr,
    tile_tokens_ptr,
    table_ptr,
    residual_ptr,
    y_ptr,
    tokens,
    count,
    N: tl.constexpr,
    SPLITS: tl.constexpr,
    PIECES: tl.constexpr,
    RANK: tl.constexpr,
    BR: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    ALIGN: tl.constexpr,
    PAIR: tl.constexpr,
):
    """A program computes BN outputs of a tile of tokens. First outputs of pieces are multiples of ALIGN."""
    adapter, token = tile_of(adapters_ptr, tile_tokens_ptr, count, BM)
    if adapter < 0:
        return
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    at, inside = token[:, None] * N + n[None, :], (n < N)[None, :]
    total = tl.zeros([BM, BN], tl.float32)
    if residual_ptr is not None:
        total += tl.load(residual_ptr + at, mask=inside, other=0.0).to(tl.float32)
    for piece in tl.static_range(PIECES):
        entry_ptr = table_ptr + (adapter * PIECES + piece) * FIELDS
        b_ptr, rank = matrix_at(entry_ptr + 1), tl.load(entry_ptr + 2)
        row = n - tl.multiple_of(tl.load(entry_ptr + 3).to(tl.int32), ALIGN)
        is_row = (row >= 0) & (row < tl.load(entry_ptr + 4))
        if tl.max(is_row.to(tl.int32), 0) > 0:
            for first in range(0, rank.to(tl.int32), BR):
                b = rows_of(b_ptr, row, is_row, first, BR, rank, PAIR)
                s = added_splits(shrunk_ptr, token * PIECES + piece, first, rank, tokens * PIECES, SPLITS, RANK, BR)
                if BM == 1:
                    total += tl.sum(b * s, 1)[None, :]
                else:
                    total = multiply(s, b, total, PAIR)
    tl.store(y_ptr + at, total.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def tile_of(adapters_ptr, tile_tokens_ptr, count, BM: tl.constexpr):
    """The adapter of a program's tile and its tokens, int64 [BM]; ``count`` for none, -1 where there is no tile."""
    tile = tl.program_id(0).to(tl.int64)
    adapter = tl.load(adapters_ptr + tile).to(tl.int64)
    if tile_tokens_ptr is None:
        adapter = tl.where((adapter >= 0) & (adapter < count), adapter, count.to(tl.int64))
        token = tile + tl.zeros([1], tl.int64)
    else:
        token = tl.load(tile_tokens_ptr + tile * BM + tl.arange(0, BM), mask=adapter >= 0, other=0).to(tl.int64)
    return adapter, token


@triton.jit
def matrix_at(address_ptr):
    """The words of the matrix whose address is there."""
    return tl.multiple_of(tl.load(address_ptr).to(tl.pointer_type(tl.int32)), 16)


@triton.jit
def rows_of(ptr, row, is_row, start, COUNT: tl.constexpr, columns, PAIR: tl.constexpr):
    """Columns start to start + COUNT of rows ``row`` [n] of a matrix in blocks: fp32 [n, COUNT], 0 where there is none.

    ``start`` is a multiple of COUNT, and there are whole words.
    """
    line = start // PAIR + tl.arange(0, COUNT // PAIR)
    at = (row // BLOCK)[:, None] * (columns // PAIR) + line[None, :]
    inside = is_row[:, None] & (line < columns // PAIR)[None, :]
    words = tl.load(ptr + at * BLOCK + (row % BLOCK)[:, None], mask=inside, other=0)
    if PAIR == 2:
        words = tl.reshape(tl.join(words << 16, words & -0x10000), [row.shape[0], COUNT])
    return words.to(tl.float32, bitcast=True)


@triton.jit
def activations(x_ptr, x_scales_ptr, token, start, BK: tl.constexpr, K: tl.constexpr, GROUP: tl.constexpr):
    """Columns start to start + BK of tokens [n]: fp32 [n, BK], 0 past the last."""
    k = start + tl.arange(0, BK)
    GROUPS: tl.constexpr = (K + GROUP - 1) // max(GROUP, 1)
    WIDTH: tl.constexpr = K if GROUP == 0 else GROUPS * GROUP + PAD
    x = tl.load(x_ptr + token[:, None] * WIDTH + k[None, :], mask=(k < K)[None, :], other=0).to(tl.float32)
    if GROUP > 0:
        g = start // GROUP + tl.arange(0, BK // GROUP)
        scales = tl.load(x_scales_ptr + token[:, None] * GROUPS + g[None, :], mask=(g < GROUPS)[None, :], other=0.0)
        by_group = tl.reshape(x, [token.shape[0], BK // GROUP, GROUP])
        x = tl.reshape(by_group * scales[:, :, None], [token.shape[0], BK])
    return x


@triton.jit
def added_splits(shrunk_ptr, at, first, rank, size, SPLITS: tl.constexpr, RANK: tl.constexpr, BR: tl.constexpr):
    """BR values of a x from ``first`` on, [n, BR], at places ``at`` of the ``size`` ones of each split."""
    r = first + tl.arange(0, BR)
    total = tl.zeros([at.shape[0], BR], tl.float32)
    for split in tl.static_range(SPLITS):
        places = (at + split * size.to(tl.int64))[:, None] * RANK + r[None, :]
        total += tl.load(shrunk_ptr + places, mask=(r < rank)[None, :], other=0.0)
    return total


@triton.jit
def multiply(x, w, total, PAIR: tl.constexpr):
    """total + x w^T by the matrix units, in the matrices' own type. x [m, k], w [n, k] fp32 -> [m, n]."""
    if PAIR == 1:
        return tl.dot(x, tl.trans(w), total, input_precision="ieee")
    else:
        return tl.dot(x.to(tl.bfloat16), tl.trans(w.to(tl.bfloat16)), total)


_ENTRIES = {"table_ptr": "*i64", "shrunk_ptr": "*fp32", "tokens": "i32", "count": "i32"}
_ALONE, _TILES = {"adapters_ptr": "*i64"}, {"adapters_ptr": "*i32", "tile_tokens_ptr": "*i32"}
_CODES = {"x_ptr": "*i8", "x_scales_ptr": "*fp32"}
_STREAM = {"residual_ptr": "*bf16", "y_ptr": "*bf16"}
_COLUMNS, _OUTPUTS = 4096, 6144  # of queries, keys and values of an 8B model


def _ranks(rank: int) -> dict[str, int]:
    return {"PIECES": 3, "RANK": rank, "PAIR": 2}


def _shrink(name: str, cut: Cut, rank: int, given: dict[str, str]) -> Variant:
    columns = {"K": _COLUMNS, "GROUP": 64 if "x_scales_ptr" in given else 0, "SPLIT": min(cut.split, _COLUMNS)}
    cuts = {"BM": cut.tokens, "BK": cut.columns, "BR": min(rank, MOST_RANKS)}
    return Variant(name, shrink_kernel, _ENTRIES | given, _ranks(rank) | columns | cuts)


def _expand(name: str, cut: Cut, rank: int, given: dict[str, str]) -> Variant:
    outputs = {"N": _OUTPUTS, "SPLITS": cdiv(_COLUMNS, cut.split), "ALIGN": BLOCK.value}
    cuts = {"BM": cut.tokens, "BN": cut.rows, "BR": min(rank, cut.ranks)}
    return Variant(name, expand_kernel, _ENTRIES | given, _ranks(rank) | outputs | cuts)


VARIANTS = (
    _shrink("lora_shrink-rank64-codes", FEW, 64, _ALONE | _CODES),
    _shrink("lora_shrink-rank16-bf16-many_tokens", MANY, 16, _TILES | {"x_ptr": "*bf16"}),
    _expand("lora_expand-rank64-many_tokens", MANY, 64, _TILES | _STREAM),
)
