"""The packed product against what the machine can do, and against torch's bf16 and int4 products, in one process.

    python -m benchmarks.kernels.bench_linear [--json FILE] [--threads N]

Weights are cold: int4 and int8 with int8 activations, ``+`` with offsets, GGUF's forms likewise, and bf16 with
activations rounded to bf16 or in fp32. ``memory`` is the bytes of the weight a second over the read bandwidth just
before, which on a shared host changes from minute to minute, ``peak`` the operations a second over those of the
instructions that multiply such activations alone, ``x bf16`` and ``x int4`` torch's time over ours, ``x one`` our
time over that of one token. Ours stand on a tape, as in a decode step, and activations are rounded for each product.
LLMRT_ISA chooses the instruction set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernels.cold import arena, cold_copies, seconds_each
from benchmarks.kernels.session import Session
from llmrt.quant.packed_weight import packed_weight
from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.cpu.addresses import activations_args, address, tensors_of, weight_args
from llmrt_kernels.cpu.library import load
from llmrt_kernels.cpu.linear import empty_activations
from llmrt_kernels.cpu.measure import dot_peak, read_bandwidth
from llmrt_kernels.cpu.structs import LinearArgs, RoundRowsArgs
from llmrt_kernels.cpu.tape import Tape
from llmrt_kernels.layout import FORMS
from llmrt_kernels.packed import BLOCK, Matrix, Weight

SHAPES = {
    "7B gate_up": (28672, 4096),
    "7B down": (4096, 14336),
    "1.1B gate_up": (11264, 2048),
    "135M gate_up": (3072, 576),
}
NAMES = {torch.int8: "int8", torch.bfloat16: "bf16", torch.float32: "fp32"}
TOKENS = (1, 2, 4, 8, 16, 32, 128, 512)
TorchTimes = dict[tuple[str, int], tuple[float, float | None]]  # seconds with bf16 and with int4, by shape and tokens


@dataclass(frozen=True)
class Scheme:
    """Weights quantized as ``codes`` says, or in bf16, and the type of activations."""

    codes: QuantScheme | None
    activations: torch.dtype

    @property
    def name(self) -> str:
        """What it is called in the table."""
        if self.codes is not None:
            codes = self.codes
            return codes.form or f"int{codes.bits} g{codes.group}" + "+" * codes.affine
        return "bf16" if self.activations == torch.bfloat16 else "bf16 x fp32"

    @property
    def bits_per_weight(self) -> float:
        """Scales and offsets included."""
        return 16 if self.codes is None else self.codes.bits_per_weight


SCHEMES = (
    Scheme(QuantScheme(4, 32), torch.int8),
    Scheme(QuantScheme(4, 32, affine=True), torch.int8),
    Scheme(QuantScheme(4, 64), torch.int8),
    Scheme(QuantScheme(8, 64), torch.int8),
    *(Scheme(QuantScheme.of_form(name, 32), torch.int8) for name in FORMS),
    Scheme(None, torch.bfloat16),
    Scheme(None, torch.float32),
)


@dataclass(frozen=True)
class Row:
    """One product. ``memory`` and ``peak`` are fractions, the ``over_`` ratios of times; None: torch has no such.

    ``read_bandwidth`` is in bytes a second.
    """

    shape: str
    scheme: str
    tokens: int
    microseconds: float
    gops: float
    read_bandwidth: float
    memory: float
    peak: float
    over_bf16: float
    over_int4: float | None
    over_one_token: float


def float_seconds(memory: Tensor, shape: tuple[int, int], tokens: int, activations: torch.dtype) -> float:
    """Our product with bf16 weights."""
    rows, columns = shape
    data = cold_copies(memory, (rows // BLOCK, columns // 2, BLOCK, 2), most_copies(tokens))
    weights = [Weight((Matrix(d, None, 16, rows),), BLOCK) for d in data]
    return taped_seconds(tokens, columns, weights, 0, activations)


def codes_seconds(memory: Tensor, halves: Tensor, shape: tuple[int, int], tokens: int, scheme: QuantScheme) -> float:
    """Our product with quantized weights; offsets lie behind the scales."""
    rows, columns = shape
    most = most_copies(tokens)
    codes = cold_copies(memory, (rows // 16, scheme.words_of(columns), 64), most)
    by_group = cold_copies(halves, (1 + scheme.affine, rows // 16, columns // scheme.scale_columns, 16), most)
    matrices = [
        packed_weight((data, *of_columns), scheme, shape).matrix
        for data, of_columns in zip(codes, by_group, strict=False)
    ]
    weights = [Weight((matrix,), scheme.group) for matrix in matrices]
    return taped_seconds(tokens, columns, weights, scheme.group, torch.float32)


def most_copies(tokens: int) -> int:
    """So many that no cache holds them, and few where it is arithmetic that takes the time."""
    return max(4, 512 // tokens)


def taped_seconds(tokens: int, columns: int, weights: Sequence[Weight], group: int, dtype: torch.dtype) -> float:
    """A product with one of ``weights``, of a tape with all of them."""
    x, y = torch.randn(tokens, columns), torch.empty(tokens, weights[0].rows)
    rounded = empty_activations(tokens, columns, group, dtype)
    library, tape = load(), Tape()
    assert library is not None
    rows = activations_args(rounded)
    for weight in weights:
        tape.append(library.find("round_rows"), RoundRowsArgs(address(x), rows, *x.shape), tensors_of(x, rounded))
        args = LinearArgs(rows, weight_args(weight), address(None), address(y), tokens)
        tape.append(library.find("linear"), args, tensors_of(rounded, weight, y))
    return seconds_each([tape.run]) / len(weights)


def bf16_seconds(memory: Tensor, shape: tuple[int, int], tokens: int) -> float:
    """torch's product with bf16 weights."""
    x = torch.randn(tokens, shape[1]).bfloat16()
    return seconds_each([lambda w=w: F.linear(x, w) for w in cold_copies(memory, shape)])


def int4_seconds(memory: Tensor, shape: tuple[int, int], tokens: int, group: int) -> float | None:
    """torch's product with int4 weights, which some builds lack."""
    rows, columns = shape
    if not hasattr(torch, "_weight_int4pack_mm_for_cpu"):
        return None
    x = torch.randn(tokens, columns).bfloat16()
    scales = torch.full((columns // group, rows, 2), 0.01, dtype=torch.bfloat16)
    weights = cold_copies(memory, (rows, columns // 2))
    return seconds_each([lambda w=w: torch._weight_int4pack_mm_for_cpu(x, w, group, scales) for w in weights])


def torch_times(threads: int, data: Tensor) -> TorchTimes:
    """Seconds of torch's two products for each shape and number of tokens."""
    torch.set_num_threads(threads)
    memory = arena(torch.bfloat16)
    times = {
        (name, tokens): (bf16_seconds(memory, shape, tokens), int4_seconds(data, shape, tokens, 64))
        for name, shape in SHAPES.items()
        for tokens in TOKENS
    }
    torch.set_num_threads(1)
    return times


class Memory(NamedTuple):
    """Where codes lie, their scales and offsets, and weights in bf16."""

    codes: Tensor
    halves: Tensor
    floats: Tensor


def rows_of(name: str, scheme: Scheme, peak: float, torch_seconds: TorchTimes, memory: Memory) -> Iterator[Row]:
    """A row for each number of tokens."""
    library, shape, one = load(), SHAPES[name], 0.0
    assert library is not None
    num_values = shape[0] * shape[1]
    bandwidth = read_bandwidth(library, memory.codes.numpy())
    for tokens in TOKENS:
        if scheme.codes is not None:
            seconds = codes_seconds(memory.codes, memory.halves, shape, tokens, scheme.codes)
        else:
            seconds = float_seconds(memory.floats, shape, tokens, scheme.activations)
        one = seconds if tokens == 1 else one
        rate = 2 * num_values * tokens / seconds
        bf16, int4 = torch_seconds[name, tokens]
        yield Row(
            shape=name,
            scheme=scheme.name,
            tokens=tokens,
            microseconds=seconds * 1e6,
            gops=rate / 1e9,
            read_bandwidth=bandwidth,
            memory=num_values * scheme.bits_per_weight / 8 / seconds / bandwidth,
            peak=rate / peak,
            over_bf16=bf16 / seconds,
            over_int4=None if int4 is None else int4 / seconds,
            over_one_token=seconds / one,
        )


def show(row: Row) -> None:
    """A line of the table."""
    print(
        f"{row.shape:13} {row.scheme:11} {row.tokens:6} {row.microseconds:8.0f} {row.gops:6.0f} {row.memory:7.0%}"
        f" {row.peak:6.0%} {row.over_bf16:7.2f} {row.over_int4 or 0:7.2f} {row.over_one_token:7.2f}",
        flush=True,
    )


def main() -> None:
    """Measure, print a table, and write the JSON."""
    session = Session.begin(__doc__)
    memory = Memory(arena(torch.uint8), arena(torch.float16), arena(torch.bfloat16))
    library = load()
    assert library is not None
    peaks = {scheme.activations: dot_peak(library, NAMES[scheme.activations]) for scheme in SCHEMES}
    torch_seconds = torch_times(session.threads, memory.codes)
    print("shape         scheme      tokens       us  GOP/s  memory   peak  x bf16  x int4   x one")
    rows: list[Row] = []
    for name, (_, columns) in SHAPES.items():
        for scheme in SCHEMES:
            if scheme.codes is None or columns % scheme.codes.scale_columns == 0:
                for row in rows_of(name, scheme, peaks[scheme.activations], torch_seconds, memory):
                    rows.append(row)
                    show(row)
    session.end(rows)


if __name__ == "__main__":
    main()
