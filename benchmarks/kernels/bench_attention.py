"""Paged attention against what the machine can do, measured in the same process.

    python -m benchmarks.kernels.bench_attention [--json FILE] [--threads N]

A prompt's chunk of 512 tokens and a single token, at several depths. ``peak`` is the operations a second (two products,
visible keys only) over those of the byte products alone, which an fp16 cache cannot use; ``memory`` the bytes of the
keys and values, read once, a second over the read bandwidth. LLMRT_ISA chooses the instruction set.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.kernels.cold import arena, seconds_each
from benchmarks.kernels.session import Session
from llmrt_kernels.cpu.attention import paged_attention
from llmrt_kernels.kv_cache import LayerKVCache

BLOCK = 64
HEADS = {64: (32, 4), 128: (32, 8)}  # query and kv heads by head dimension: TinyLlama's, Mistral's
CACHES = {"int8": torch.uint8, "fp16": torch.float16}
NEW_AND_DEPTH = ((512, 0), (512, 8192), (512, 32768), (1, 32768))


@dataclass(frozen=True)
class Row:
    """One call; ``memory`` and ``peak`` are fractions."""

    head_dim: int
    cache: str
    tokens: int
    depth: int
    milliseconds: float
    gops: float
    memory: float
    peak: float


def attention_seconds(memory: Tensor, head_dim: int, tokens: int, depth: int) -> float:
    """Time of a call for one request; each call takes other pages of ``memory`` as long as there are any."""
    heads, kv_heads = HEADS[head_dim]
    block = kv_heads * 2 * BLOCK * head_dim
    k, v = memory[: memory.numel() // block * block].view(-1, kv_heads, 2, BLOCK, head_dim).unbind(2)  # as KVCache's
    k_scales, v_scales = (None, None)
    if k.dtype == torch.uint8:
        k_scales, v_scales = torch.full((len(k), kv_heads, 2, BLOCK), 0.01).unbind(2)
    width = -(-(depth + tokens) // BLOCK)
    pages = torch.randperm(k.shape[0])[: k.shape[0] // width * width]
    q, starts, lengths = torch.randn(tokens, heads, head_dim), torch.tensor([0, tokens]), torch.tensor([depth + tokens])

    kv = LayerKVCache(k, v, k_scales, v_scales)

    def call(table: Tensor) -> object:
        return paged_attention(q, kv, table, starts, lengths, tokens, head_dim**-0.5, None, 64)

    return seconds_each([lambda t=t: call(t) for t in pages.view(-1, 1, width).unbind(0)])


def main() -> None:
    """Measure, print a table, and write the JSON."""
    session = Session.begin(__doc__)
    bandwidth, peak = session.read_bandwidth, session.dot_peak
    print("  D cache tokens  depth        ms  GOP/s  memory   peak")
    rows: list[Row] = []
    for cache, dtype in CACHES.items():
        memory = arena(dtype)
        for head_dim, (heads, kv_heads) in HEADS.items():
            for tokens, depth in NEW_AND_DEPTH:
                seconds = attention_seconds(memory, head_dim, tokens, depth)
                visible = tokens * depth + tokens * (tokens + 1) // 2
                rate = 4 * head_dim * heads * visible / seconds
                bytes_of_token = 2 * kv_heads * (head_dim * dtype.itemsize + (4 if cache == "int8" else 0))
                read = bytes_of_token * (depth + tokens) / seconds
                row = Row(head_dim, cache, tokens, depth, seconds * 1e3, rate / 1e9, read / bandwidth, rate / peak)
                rows.append(row)
                print(
                    f"{head_dim:3} {cache:5} {tokens:6} {depth:6} {row.milliseconds:9.2f} {row.gops:6.0f}"
                    f" {row.memory:7.0%} {row.peak:6.0%}",
                    flush=True,
                )
    session.end(rows)


if __name__ == "__main__":
    main()
