"""Products and experts on a GPU, beside cuBLAS in bf16, torch's int4 product and the copy bandwidth.

    PYTHONPATH=.:kernels python -m benchmarks.kernels.bench_triton_linear [--threads 128 256 512]

Weights are cold: a graph runs through copies that are three times the second-level cache, so a time includes the gap
between two kernels of a graph. ``copy`` is bytes of the weight a second over the measured copy bandwidth, ``x bf16``
and ``x int4`` torch's time over ours, ``x other`` that of the way which the table does not choose for so many tokens:
weights expanded for torch's product, or multiplied in int8. ``--threads`` measures few tokens with each limit of
threads in a program.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.on_gpu.graph_seconds import graph_seconds
from benchmarks.on_gpu.limits import copy_bandwidth
from llmrt_kernels.expansion import EXPANDED_FROM
from llmrt_kernels.packed import Codes, Matrix, Weight
from llmrt_kernels.triton import dense_activated_linear, dense_linear, tiles
from llmrt_kernels.triton.activated_linear import gated_linear
from llmrt_kernels.triton.codes import quantize_rows
from llmrt_kernels.triton.linear import linear_as
from llmrt_kernels.triton.moe import moe_experts
from llmrt_kernels.triton.target import target_of

SHAPES = {"7B qkv": (6144, 4096), "7B output": (4096, 4096), "7B down": (4096, 14336), "7B gate_up": (28672, 4096)}
SCHEMES = ((4, 64), (8, 32))
BF16 = (16, 1)
TOKENS = (1, 16, 4096, 4, 64, 1024, 2048)  # those first that say most
BOTH_WAYS = 1024  # tokens from which weights are expanded and are not
MOST_INT4 = 64  # tokens that torch's product is measured with
MIXTRAL = (8, 2, 4096, 14336)  # experts, active ones, hidden and inner size
MOE_TOKENS = (1, 4, 16, 64, 1024)
MAX_COPIES = 64

Call = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One product: ``copy`` a fraction, the ``over_`` ratios of times, None where torch has no such product.

    ``weight`` is int4, int8 or bf16, whose group is 1.
    """

    op: str
    shape: str
    weight: str
    group: int
    tokens: int
    microseconds: float
    copy: float
    teraops: float
    over_bf16: float | None
    over_int4: float | None
    over_other: float | None


def measure() -> Iterator[Row]:
    """All rows, printed as they come."""
    print("op           shape       scheme    tokens       us   copy   TOP/s  x bf16  x int4  x other")
    yield from dense_rows(TOKENS)
    yield from moe_rows()


def dense_rows(tokens: Sequence[int]) -> Iterator[Row]:
    """All matrices and schemes, by the number of tokens; bf16 where the product is not torch's anyway."""
    for count, (name, shape) in product(tokens, SHAPES.items()):
        bf16, int4 = bf16_seconds(shape, count), int4_seconds(shape, count)
        if count <= tiles.FEW:
            seconds = graph_seconds(bf16_products(name, count, bf16_weights(shape)))
            yield row_of(op_of(name).__name__, name, shape, BF16, count, seconds, bf16, None, None)
        for scheme in SCHEMES:
            calls = products(name, scheme, count, cold_weights(shape, *scheme))
            seconds, other = graph_seconds(calls), other_seconds(calls, count)
            yield row_of(op_of(name).__name__, name, shape, scheme, count, seconds, bf16, int4, other)


def products(name: str, scheme: tuple[int, int], tokens: int, weights: Sequence[Weight]) -> list[Call]:
    """One with each of ``weights``."""
    x = random_codes(tokens, SHAPES[name][1], scheme[1])
    return [partial(op_of(name), x, weight) for weight in weights]


def other_seconds(calls: Sequence[Call], tokens: int) -> float | None:
    """Of the way that the table does not choose; None for few tokens."""
    if tokens < BOTH_WAYS:
        return None
    with other_way(tokens):
        return graph_seconds(calls)


def other_way(tokens: int) -> AbstractContextManager[object]:
    """Weights are expanded for so many tokens if the table has them multiplied in int8, and the other way round."""
    target = target_of(torch.device("cuda"))
    first = sys.maxsize if tiles.is_expanded(tokens, target) else tokens
    return patch.dict(EXPANDED_FROM, {target.name: first})


def linear(x: Codes, weight: Weight) -> Tensor:
    """The product, of the type of cuBLAS's."""
    return linear_as(torch.bfloat16, x, weight)


def bf16_products(name: str, tokens: int, weights: Sequence[Tensor]) -> list[Call]:
    """One with each of ``weights``."""
    x = torch.randn(tokens, SHAPES[name][1], device="cuda", dtype=torch.bfloat16)
    multiplied = dense_activated_linear.gated_linear if op_of(name) is gated_linear else dense_linear.linear
    return [partial(multiplied, x, weight, None) for weight in weights]


def op_of(name: str) -> Callable[..., Any]:
    """``linear``, and ``gated_linear`` where the matrix is a gate's."""
    return gated_linear if name.endswith("gate_up") else linear


def launches() -> dict[str, Call]:
    """Each kernel once, by matrix or experts and scheme."""
    dense = {f"{name}-int{scheme[0]}": partial(launch_products, name, scheme) for name in SHAPES for scheme in SCHEMES}
    dense |= {f"{name}-bf16": partial(launch_bf16, name) for name in SHAPES}
    return dense | {f"experts-int{scheme[0]}": partial(launch_experts, scheme) for scheme in SCHEMES}


def launch_products(name: str, scheme: tuple[int, int]) -> None:
    """With every number of tokens."""
    weight = random_weight(SHAPES[name], *scheme)
    for tokens in TOKENS:
        (call,) = products(name, scheme, tokens, [weight])
        call()
        with other_way(tokens) if tokens >= BOTH_WAYS else nullcontext():
            call()
    torch.cuda.synchronize()


def launch_bf16(name: str) -> None:
    """With every number of tokens that is measured."""
    for tokens in TOKENS:
        if tokens <= tiles.FEW:
            bf16_products(name, tokens, [bf16_weight(SHAPES[name])])[0]()
    torch.cuda.synchronize()


def launch_experts(scheme: tuple[int, int]) -> None:
    """With every number of tokens."""
    for call in experts(scheme).values():
        call()
    torch.cuda.synchronize()


def row_of(
    op: str,
    name: str,
    shape: tuple[int, int],
    scheme: tuple[int, int],
    tokens: int,
    seconds: float,
    bf16: float | None,
    int4: float | None,
    other: float | None,
) -> Row:
    """Print it, too."""
    bits, group = scheme
    row = Row(
        op,
        name,
        "bf16" if scheme == BF16 else f"int{bits}",
        group,
        tokens,
        round(seconds * 1e6, 1),
        round(stored_bytes(shape, *scheme) / seconds / copy_bandwidth(), 3),
        round(2 * shape[0] * shape[1] * tokens / seconds / 1e12, 1),
        None if bf16 is None else round(bf16 / seconds, 2),
        None if int4 is None else round(int4 / seconds, 2),
        None if other is None else round(other / seconds, 2),
    )
    print(
        f"{op:12} {name:11} {row.weight} g{row.group:<2} {tokens:6} {row.microseconds:8.1f} {row.copy:6.0%}"
        f" {row.teraops:7.1f} {row.over_bf16 or 0:7.2f} {row.over_int4 or 0:7.2f} {row.over_other or 0:8.2f}",
        flush=True,
    )
    return row


def moe_rows() -> Iterator[Row]:
    """Mixtral's experts; the bytes are those of the experts that ``tokens`` tokens are sent to, all from 16 on."""
    num_experts, num_active, hidden, inner = MIXTRAL
    for scheme in SCHEMES:
        for tokens, call in experts(scheme).items():
            busy = min(num_active * tokens, num_experts)
            shape = (3 * inner * busy, hidden)
            yield row_of("moe_experts", "Mixtral", shape, scheme, tokens, graph_seconds([call]), None, None, None)


def experts(scheme: tuple[int, int]) -> dict[int, Call]:
    """A layer of Mixtral's experts by the number of tokens."""
    num_experts, num_active, hidden, inner = MIXTRAL
    gate_up = random_weight((num_experts * 2 * inner, hidden), *scheme)
    down = random_weight((num_experts * hidden, inner), *scheme)
    router = torch.randn(num_experts, hidden, device="cuda", dtype=torch.bfloat16)

    def call(tokens: int) -> Call:
        x = random_codes(tokens, hidden, scheme[1])
        residual = torch.randn(tokens, hidden, device="cuda", dtype=torch.bfloat16)
        return partial(moe_experts, x, router, gate_up, down, num_active, residual)

    return {tokens: call(tokens) for tokens in MOE_TOKENS}


def sweep(threads: Sequence[int]) -> None:
    """Few tokens with each limit of threads in a program."""
    for limit in threads:
        tiles.MAX_THREADS = limit
        print(f"{limit} threads")
        deque(dense_rows([tokens for tokens in TOKENS if tokens <= tiles.FEW]), maxlen=0)


def stored_bytes(shape: tuple[int, int], bits: int, group: int) -> float:
    """Codes and scales, or floats."""
    return shape[0] * shape[1] * (bits / 8 + (2 / group if (bits, group) != BF16 else 0))


def random_weight(shape: tuple[int, int], bits: int, group: int) -> Weight:
    """Of any codes, on the device."""
    rows, columns = shape
    data = torch.randint(0, 256, (rows // 16, columns * bits // 32, 64), dtype=torch.uint8, device="cuda")
    scales = torch.full((rows // 16, columns // group, 16), 0.01, dtype=torch.float16, device="cuda")
    return Weight((Matrix(data, scales, bits, rows),), group)


def cold_weights(shape: tuple[int, int], bits: int, group: int) -> list[Weight]:
    """As many as no cache holds."""
    return [random_weight(shape, bits, group) for _ in range(copies(stored_bytes(shape, bits, group)))]


def copies(num_bytes: float) -> int:
    """Of a weight, three times the second-level cache together."""
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    return min(max(2, -(-3 * cache // int(num_bytes))), MAX_COPIES)


def random_codes(tokens: int, columns: int, group: int) -> Codes:
    """Activations in int8."""
    return quantize_rows(torch.randn(tokens, columns, device="cuda"), group)


def bf16_seconds(shape: tuple[int, int], tokens: int) -> float:
    """cuBLAS."""
    x = torch.randn(tokens, shape[1], device="cuda", dtype=torch.bfloat16)
    return graph_seconds([lambda w=w: torch.nn.functional.linear(x, w) for w in bf16_weights(shape)])


def bf16_weights(shape: tuple[int, int]) -> list[Tensor]:
    """As many as no cache holds."""
    return [bf16_weight(shape) for _ in range(copies(stored_bytes(shape, *BF16)))]


def bf16_weight(shape: tuple[int, int]) -> Tensor:
    """Of any numbers, on the device."""
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16)


def int4_seconds(shape: tuple[int, int], tokens: int) -> float | None:
    """torch's own product with int4 weights; None where it is missing."""
    rows, columns = shape
    if torch.version.hip or tokens > MOST_INT4:
        return None
    x = torch.randn(tokens, columns, device="cuda", dtype=torch.bfloat16)
    scales = torch.ones(columns // 64, rows, 2, device="cuda", dtype=torch.bfloat16)
    try:
        weights = [_int4_weight(rows, columns) for _ in range(copies(rows * columns / 2))]
        return graph_seconds([lambda w=w: torch.ops.aten._weight_int4pack_mm(x, w, 64, scales) for w in weights])
    except RuntimeError:  # a build without it
        return None


def _int4_weight(rows: int, columns: int) -> Tensor:
    codes = torch.randint(0, 256, (rows, columns // 2), dtype=torch.uint8, device="cuda")
    return torch.ops.aten._convert_weight_to_int4pack(codes, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", help="limits to try, instead of all rows")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} sees no GPU; this measures one.")
    if options.threads:
        sweep(options.threads)
    else:
        deque(measure(), maxlen=0)


if __name__ == "__main__":
    main()
