"""Attention over pages on a GPU: prompts beside torch's backends, decoding beside the copy bandwidth.

    PYTHONPATH=.:kernels python -m benchmarks.kernels.bench_triton_attention

The shape is Mistral 7B's, pages lie in no order, and each call of a graph has pages of its own, so that the
second-level cache holds none of them. ``best`` is the fastest of torch's backends on the same numbers in one piece,
with as many heads of keys as of queries (which they read from that cache), and ``x best`` its time over ours;
``copy`` the bytes of the keys and values a second, read once, over the measured copy bandwidth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.on_gpu.graph_seconds import graph_seconds
from benchmarks.on_gpu.limits import copy_bandwidth
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.triton.attention import paged_attention

HEADS, KV_HEADS, DIM, PAGE, GROUP = 32, 8, 128, 64, 64
CACHES = {"bf16": torch.bfloat16, "int8": torch.int8}
GROUPS = {"bf16": 0, "int8": GROUP}  # of the results
PROMPTS = (1024, 4096, 16384, 32768)
DECODE = ((1, 1024), (1, 8192), (1, 32768), (8, 8192), (64, 2048))  # requests and keys of each
BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
ARENA_TOKENS = 1 << 19  # of keys and values: 2 GB of bf16


@dataclass(frozen=True)
class Row:
    """One call. ``best`` and ``over_best`` of a prompt, ``copy`` of decoding; ``codes``: the result in int8."""

    op: str
    cache: str
    codes: bool
    requests: int
    keys: int
    microseconds: float
    tflops: float
    best: str | None = None
    over_best: float | None = None
    copy: float | None = None


class Arena:
    """A pool of random keys and values."""

    def __init__(self, cache: str) -> None:
        shape = (ARENA_TOKENS // PAGE, KV_HEADS, PAGE, DIM)
        self.name, self.scales = cache, None
        if cache == "int8":
            self.k, self.v = (torch.randint(-127, 128, shape, dtype=torch.int8, device="cuda") for _ in range(2))
            self.scales = torch.full(shape[:3], 0.01, device="cuda")
        else:
            self.k, self.v = (torch.randn(shape, dtype=CACHES[cache], device="cuda") for _ in range(2))

    @property
    def bytes_of_token(self) -> int:
        """Of its keys and values, with their scales."""
        return 2 * KV_HEADS * (DIM * self.k.element_size() + (4 if self.scales is not None else 0))

    def calls(self, requests: int, new: int, keys: int, group: int) -> list[Callable[[], object]]:
        """For ``requests`` of ``keys`` keys each, the last ``new`` of them new; each with pages of its own."""
        width = -(-keys // PAGE)
        pages = torch.randperm(self.k.shape[0], device="cuda")
        count = min(16 if new == 1 else 2, len(pages) // (requests * width))
        tables = pages[: count * requests * width].view(count, requests, width)
        q = torch.randn(requests * new, HEADS, DIM, dtype=torch.bfloat16, device="cuda")
        starts = torch.arange(requests + 1, device="cuda") * new
        lengths = torch.full((requests,), keys, device="cuda")

        def call(table: Tensor) -> object:
            pool = LayerKVCache(self.k, self.v, self.scales, self.scales)
            return paged_attention(q, pool, table, starts, lengths, new, DIM**-0.5, None, group)

        return [partial(call, table) for table in tables]


def sdpa_seconds(keys: int, backend: SDPBackend) -> float | None:
    """Of torch's causal attention by ``backend``, None if it cannot."""
    q, k, v = (torch.randn(1, HEADS, keys, DIM, dtype=torch.bfloat16, device="cuda") for _ in range(3))
    try:
        with sdpa_kernel(backend):
            return graph_seconds([lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)] * 2)
    except RuntimeError:
        return None


def best_sdpa(keys: int) -> tuple[str, float] | None:
    """The fastest of torch's backends and its time; None if there is none."""
    times = {name: sdpa_seconds(keys, backend) for name, backend in BACKENDS.items()}
    known = ((name, time) for name, time in times.items() if time is not None)
    return min(known, key=lambda pair: pair[1], default=None)


def prompt_row(arena: Arena, keys: int, group: int, best: tuple[str, float] | None) -> Row:
    """Attention of a whole prompt."""
    seconds = graph_seconds(arena.calls(1, keys, keys, group))
    rate = 2 * HEADS * DIM * keys * (keys + 1) / seconds / 1e12
    name, over = (None, None) if best is None else (best[0], best[1] / seconds)
    return Row("prefill", arena.name, group > 0, 1, keys, seconds * 1e6, rate, name, over)


def decode_row(arena: Arena, requests: int, keys: int, group: int) -> Row:
    """Attention of one token for each request."""
    seconds = graph_seconds(arena.calls(requests, 1, keys, group))
    rate = 4 * HEADS * DIM * requests * keys / seconds / 1e12
    copy = requests * keys * arena.bytes_of_token / seconds / copy_bandwidth()
    return Row("decode", arena.name, group > 0, requests, keys, seconds * 1e6, rate, copy=copy)


def measure() -> Iterator[Row]:
    """All rows, printed as they come."""
    print("op      cache  codes requests   keys        us  TFLOP/s    best  x best   copy")
    best = {keys: best_sdpa(keys) for keys in PROMPTS}
    for cache, group in GROUPS.items():
        arena = Arena(cache)
        for requests, keys in DECODE:
            yield shown(decode_row(arena, requests, keys, group))
        for keys in PROMPTS:
            yield shown(prompt_row(arena, keys, group, best[keys]))


def launches() -> dict[str, Callable[[], None]]:
    """Each kernel once, by cache."""
    return {f"attention-{cache}": partial(launch, cache, group) for cache, group in GROUPS.items()}


def launch(cache: str, group: int) -> None:
    """Prompts and decoding."""
    arena = Arena(cache)
    for requests, new, keys in ((1, PROMPTS[0], PROMPTS[0]), *((requests, 1, keys) for requests, keys in DECODE)):
        arena.calls(requests, new, keys, group)[0]()
    torch.cuda.synchronize()


def shown(row: Row) -> Row:
    """Print it."""
    print(
        f"{row.op:7} {row.cache:6} {row.codes!s:5} {row.requests:8} {row.keys:6} {row.microseconds:9.1f}"
        f" {row.tflops:8.1f} {row.best or '-':>7} {row.over_best or 0:7.2f} {row.copy or 0:6.0%}",
        flush=True,
    )
    return row


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} sees no GPU; this measures one.")
    deque(measure(), maxlen=0)


if __name__ == "__main__":
    main()
