"""A layer of experts against a dense MLP of as many products, and against the read bandwidth, in the same process.

    python -m benchmarks.kernels.bench_moe [--json FILE] [--threads N]

The shape is Mixtral 8x7B's: two of eight experts. Weights are cold: enough layers are walked through that none is in a
cache when its turn comes. The dense MLP is twice as wide as an expert.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.kernels.cold import seconds_each
from benchmarks.kernels.session import Session
from llmrt_kernels.cpu.linear import gated_linear, linear, quantize_rows
from llmrt_kernels.cpu.moe import moe_experts
from llmrt_kernels.cpu.tape import record
from llmrt_kernels.packed import Codes, Matrix, Weight

HIDDEN, INNER, EXPERTS, ACTIVE, GROUP = 4096, 14336, 8, 2, 64
TOKENS = (1, 8, 128, 512)
LAYERS = 3


@dataclass(frozen=True)
class Row:
    """``gops`` of the active experts; ``gigabytes_per_second`` of the experts that were read."""

    bits: int
    tokens: int
    milliseconds: float
    gops: float
    gigabytes_per_second: float
    over_dense: float


def taped(function: Callable[..., object], *operands: object) -> Callable[[], None]:
    """The native calls of ``function`` as one, as a decode step has them."""
    with record() as tape:
        function(*operands)
    return tape.run


def mlp(x: Codes, gate_up: Weight, down: Weight, residual: torch.Tensor) -> torch.Tensor:
    """The dense MLP."""
    return linear(gated_linear(x, gate_up), down, residual)


def random_weight(rows: int, columns: int, bits: int) -> Weight:
    """Random codes, and scales that keep what is computed near 1."""
    data = torch.randint(0, 256, (rows // 16, columns * bits // 32, 64), dtype=torch.uint8)
    scales = (torch.rand(rows // 16, columns // GROUP, 16) * 2**-bits / 50).half()
    return Weight((Matrix(data, scales, bits, rows),), GROUP)


def read_bytes(x: Codes, router: torch.Tensor, bits: int) -> float:
    """Bytes of the experts that any of the tokens is sent to."""
    values = x.codes[:, :HIDDEN].float().unflatten(1, (-1, GROUP)) * x.scales.unsqueeze(2)
    chosen = (values.flatten(1) @ router.T).topk(ACTIVE).indices.unique()
    return len(chosen) * 3 * HIDDEN * INNER * (bits + 16 / GROUP) / 8


def measure(bits: int) -> list[Row]:
    """A row for each number of tokens."""
    wide = ACTIVE * INNER
    layers = [
        (random_weight(EXPERTS * 2 * INNER, HIDDEN, bits), random_weight(EXPERTS * HIDDEN, INNER, bits))
        for _ in range(LAYERS)
    ]
    dense = [(random_weight(2 * wide, HIDDEN, bits), random_weight(HIDDEN, wide, bits)) for _ in range(LAYERS)]
    router = torch.randn(EXPERTS, HIDDEN)
    rows: list[Row] = []
    for tokens in TOKENS:
        x, residual = quantize_rows(torch.randn(tokens, HIDDEN), GROUP), torch.zeros(tokens, HIDDEN)
        seconds = seconds_each([taped(moe_experts, x, router, *w, ACTIVE, residual) for w in layers])
        base = seconds_each([taped(mlp, x, *w, residual) for w in dense])
        gops = 2 * tokens * ACTIVE * 3 * HIDDEN * INNER / seconds / 1e9
        rate = read_bytes(x, router, bits) / seconds / 1e9
        rows.append(Row(bits, tokens, seconds * 1e3, gops, rate, seconds / base))
    return rows


def main() -> None:
    """Measure, print a table, and write the JSON."""
    session = Session.begin(__doc__)
    print("bits  tokens        ms   GOP/s    GB/s  time of the dense MLP")
    rows: list[Row] = []
    for bits in (4, 8):
        for row in measure(bits):
            rows.append(row)
            print(
                f"{row.bits:4} {row.tokens:7} {row.milliseconds:9.2f} {row.gops:7.0f}"
                f" {row.gigabytes_per_second:7.1f} {row.over_dense:8.2f}",
                flush=True,
            )
    session.end(rows)


if __name__ == "__main__":
    main()
