"""Attention over pages on a GPU. The contract is the reference's.

Two kernels: ``attention_prefill`` for requests with many new tokens, ``attention_decode`` for those with few. A batch
that has both is given to both, and each passes over the other's requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.packed import Codes
from llmrt_kernels.triton import attention_tuning as tuning
from llmrt_kernels.triton.attention_decode import decode_kernel
from llmrt_kernels.triton.attention_prefill import prefill_kernel
from llmrt_kernels.triton.codes import empty_codes, quantize_rows
from llmrt_kernels.triton.fp8 import Pages, pages_of
from llmrt_kernels.triton.integers import cdiv, next_power_of_2
from llmrt_kernels.triton.overlap import overlap
from llmrt_kernels.triton.target import target_of

LOG2_E = math.log2(math.e)
NO_WINDOW = 1 << 30
JOINED_AT_ONCE = 8192  # values of parts: 64 registers of a thread
MANY_ROWS = 16  # of a request and kv head, as steps with prompts have
COUNTERS = 1 << 16  # of requests times kv heads, at a time


def paged_attention(
    q: Tensor,
    kv: LayerKVCache,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    seq_lens: Tensor,
    max_query_len: int,
    scale: float,
    sliding_window: int | None,
    group: int = 0,
    *,
    cap: float = 0.0,
    slopes: Tensor | None = None,
) -> Tensor | Codes:
    """q [T, H, D] -> [T, H D] of q's dtype, or in int8 with ``group`` values to a scale.

    The cache is fp16, bf16, fp32, int8 or fp8; block_size is a power of two from 16 on, and all tensors are contiguous.
    ``slopes`` [H] fp32 are not given with a ``cap``.
    """
    tokens, heads, dim = q.shape
    page = kv.k.shape[2]
    assert q.is_contiguous() and kv.k.is_contiguous() and kv.v.is_contiguous() and scale > 0
    assert page >= 16 and page & (page - 1) == 0 and dim <= 256 and kv.k.dtype != torch.uint8
    window = NO_WINDOW if sliding_window is None else sliding_window

    def attend(out: _Out, code_group: int) -> None:
        batch = block_table, cu_seqlens_q, seq_lens
        _Call(q, pages_of(kv), batch, out, scale, cap, slopes, window, code_group).launch(max_query_len)

    if group > 0 and dim % group == 0:
        codes = empty_codes(tokens, heads * dim, group, q.device)
        attend(codes.tensors, group)
        return codes
    out = q.new_empty(tokens, heads * dim, dtype=torch.float32 if group else q.dtype)
    attend((out, None, None), 0)
    return quantize_rows(out, group) if group else out


_Out = tuple[Tensor, Tensor | None, Tensor | None]


@dataclass(frozen=True)
class _Call:
    """The operands of both kernels: pages and their scales; block table, starts and lengths; where results go."""

    q: Tensor
    cache: Pages
    batch: tuple[Tensor, Tensor, Tensor]
    out: _Out
    scale: float
    cap: float
    slopes: Tensor | None
    window: int
    code_group: int

    @property
    def requests(self) -> int:
        return self.batch[0].shape[0]

    @property
    def table_width(self) -> int:
        return self.batch[0].shape[1]

    @property
    def kv_heads(self) -> int:
        return self.cache[0].shape[1]

    @property
    def heads_per_kv(self) -> int:
        return self.q.shape[1] // self.kv_heads

    @property
    def scores(self) -> tuple[float, float | None, Tensor | None]:
        """``scale_log2``, and ``bend`` and the slopes where there are any: see ``attention_tiles``."""
        if self.cap:
            return self.cap * LOG2_E, 2 * LOG2_E * self.scale / self.cap, None
        return self.scale * LOG2_E, None, self.slopes

    @property
    def sizes(self) -> dict[str, int]:
        """The constants that both kernels take."""
        dim = self.q.shape[2]
        return {
            "HEADS": self.heads_per_kv,
            "DIM": dim,
            "DIM_PADDED": max(16, next_power_of_2(dim)),
            "CODE_GROUP": self.code_group,
        }

    def tiles(self, kind: str) -> tuning.Tiles:
        return tuning.tiles_here(kind, target_of(self.q.device), self.sizes["DIM_PADDED"], self.cache[0].element_size())

    def launch_constants(self, tiles: tuning.Tiles) -> dict[str, int | str]:
        return self.sizes | {
            "PAGE": self.cache[0].shape[2],
            "BLOCK_N": tiles.block_n,
            "STAGES": tiles.stages,
            "ASM": target_of(self.q.device).asm,
            "num_warps": tiles.warps,
            "num_stages": tiles.stages,
        }

    def launch(self, max_query_len: int) -> None:
        rows = tuning.decode_rows(max_query_len * self.heads_per_kv, self.heads_per_kv)
        short = rows // self.heads_per_kv  # queries of a request that decodes
        if max_query_len > short:
            self.prefill(min_queries=1 if self.requests == 1 else short + 1)
        if max_query_len <= short or self.requests > 1:
            self.decode(rows, min(max_query_len, short))

    def prefill(self, min_queries: int) -> None:
        tiles = self.tiles("prefill")
        block_m = max(tiles.block_m, next_power_of_2(self.heads_per_kv))
        grid = (self.q.shape[0] // (block_m // self.heads_per_kv) + self.requests, self.kv_heads)
        prefill_kernel[grid](
            self.q, *self.cache, *self.batch, *self.out,
            self.requests, self.table_width, self.kv_heads, *self.scores, self.window, min_queries,
            BLOCK_M=block_m, **self.launch_constants(tiles),
        )  # fmt: skip

    def decode(self, rows: int, max_queries: int) -> None:
        tiles = tuning.with_room(self.tiles("decode"), rows)
        table_keys = self.table_width * self.cache[0].shape[2]
        programs, processors = self.requests * self.kv_heads, tuning.processors_of(self.q.device)
        splits = tuning.decode_splits(programs, processors, table_keys)
        rows_used = max_queries * self.heads_per_kv
        parts = self.parts(splits, rows_used) if splits > 1 else (None, None, None)
        decode_kernel[splits, self.kv_heads, self.requests](
            self.q, *self.cache, *self.batch, *self.out, *parts,
            self.table_width, self.kv_heads, *self.scores, self.window, splits, max_queries,
            BLOCK_M=rows, **join_sizes(rows_used, self.sizes["DIM_PADDED"]), **self.launch_constants(tiles),
            **overlap(target_of(self.q.device)),
        )  # fmt: skip

    def parts(self, splits: int, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        shape = (self.requests, self.kv_heads, splits, rows)
        out = self.q.new_empty(*shape, self.q.shape[2], dtype=torch.float32)
        stats = self.q.new_empty(*shape, 2, dtype=torch.float32)
        return out, stats, counters(self.q.device, cdiv(self.requests * self.kv_heads, COUNTERS))


def join_sizes(rows: int, dim_padded: int) -> dict[str, int]:
    """How many rows, and parts of each, are joined at once: half as many values where the rows take registers, too."""
    padded = next_power_of_2(rows)
    room = JOINED_AT_ONCE // 2 if padded >= MANY_ROWS else JOINED_AT_ONCE
    return {"ROWS": padded, "PARTS": max(1, min(16, room // (padded * dim_padded)))}


@cache
def counters(device: torch.device, blocks: int) -> Tensor:
    """Zeros, which every launch leaves as it found them: launches of one device come one after the other."""
    return torch.zeros(blocks * COUNTERS, dtype=torch.int32, device=device)
