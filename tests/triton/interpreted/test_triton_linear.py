"""Products with packed weights against float64, from int8 activations taken for what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from llmrt_kernels.expansion import STRIP_BYTES
from llmrt_kernels.packed import Codes, Matrix, Weight
from llmrt_kernels.triton.expand import expand_rows, expanded_codes, strip_rows
from llmrt_kernels.triton.linear import linear, linear_mma_kernel, lm_head
from tests.kernels.operands import draw, relative
from tests.kernels.packing import meant, random_weight


@dataclass(frozen=True)
class Case:
    """Tokens, columns, group, rows and bits of the pieces, bias, the residual's type, offsets of every second piece."""

    tokens: int
    columns: int
    group: int
    rows: tuple[int, ...]
    bits: tuple[int, ...]
    bias: bool = False
    residual: torch.dtype | None = None
    affine: bool = False


# Pairs of values of all fields appear together; 70 tokens are more than one tile of 64.
CASES = (
    Case(1, 64, 64, (16,), (4,)),
    Case(1, 160, 32, (1,), (8,), True, torch.float32),
    Case(1, 576, 64, (48, 33), (4, 8), True, torch.bfloat16),
    Case(2, 208, 64, (32, 16, 50), (8, 4, 4), False, torch.float16),
    Case(3, 576, 32, (32, 50), (8, 4), True, torch.bfloat16),
    Case(3, 64, 32, (48, 16, 33), (4, 8, 8), False, torch.float32),
    Case(4, 300, 64, (100,), (8,), True, None),
    Case(5, 64, 64, (33,), (8,), True, torch.bfloat16),
    Case(5, 576, 32, (144, 130), (4, 8), False, torch.float16),
    Case(5, 1024, 64, (16,), (4,), True, None),
    Case(5, 1024, 32, (32, 16, 50), (8, 4, 4), True, torch.float32),  # in parts, and a third piece at row 48
    Case(6, 1100, 32, (20,), (8,)),  # parts of 10, 10, 10 and 5 groups
    Case(17, 208, 32, (32, 16, 50), (8, 4, 4), True, torch.float32),
    Case(17, 576, 64, (160, 20), (8, 4), False, None),
    Case(70, 160, 64, (130,), (4,), True, torch.bfloat16),
    Case(70, 320, 32, (16, 1), (8, 8), False, torch.float32),
    Case(1, 576, 64, (48, 33), (4, 8), False, torch.bfloat16, affine=True),
    Case(3, 160, 32, (32, 16, 50), (8, 4, 4), True, None, affine=True),
    Case(5, 1024, 32, (16,), (4,), True, None, affine=True),
    Case(70, 320, 64, (130, 20), (8, 4), True, torch.float32, affine=True),
)
ROUNDING = {None: 2e-6, torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
EXPANDED = 1.2e-2  # weights, activations and products are rounded to bf16


def random_codes(tokens: int, columns: int, group: int, device: str) -> Codes:
    """Codes of any kind, what pads them included: weights there are zero."""
    groups = -(-columns // group)
    generator = torch.Generator().manual_seed(tokens + columns)
    codes = torch.randint(-127, 128, (tokens, groups * group + 64), generator=generator, dtype=torch.int8)
    codes[:, columns : groups * group] = 0
    scales = torch.rand(tokens, groups, generator=generator) + 0.01
    sums = codes[:, : groups * group].unflatten(1, (-1, group)).sum(-1, dtype=torch.int32)
    return Codes(codes.to(device), scales.to(device), sums.to(device), group)


def weight_on(weight: Weight, device: str) -> Weight:
    bias = None if weight.bias is None else weight.bias.to(device)
    return Weight(tuple(matrix_on(piece, device) for piece in weight.pieces), weight.group, bias)


def matrix_on(matrix: Matrix, device: str) -> Matrix:
    data, scales, offsets = (t if t is None else t.to(device) for t in (matrix.data, matrix.scales, matrix.offsets))
    assert data is not None
    return Matrix(data, scales, matrix.bits, matrix.rows, offsets)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_linear_equals_the_formula(case: Case, device: str) -> None:
    check(case, device, case.residual or torch.float32, ROUNDING[case.residual])


@pytest.mark.usefixtures("expanded")
@pytest.mark.parametrize(
    "case",
    [
        Case(5, 208, 64, (144, 130), (4, 8), True, torch.bfloat16, affine=True),
        Case(6, 576, 32, (33,), (8,), False, torch.float16),
        Case(6, 208, 64, (50,), (4,), True, torch.float32),
        Case(70, 96, 32, (32, 112, 50), (8, 4, 4), False, torch.bfloat16),
        Case(17, 160, 32, (48, 33), (8, 4), True, None),
        Case(5, 96, 32, (20,), (4,)),
    ],
    ids=str,
)
def test_expanded_it_loses_what_bf16_cannot_hold(case: Case, device: str) -> None:
    check(case, device, case.residual or (torch.float32 if case.bias else torch.bfloat16), EXPANDED)


@pytest.mark.usefixtures("expanded")
def test_logits_are_as_exact_as_without(device: str) -> None:
    weight, dense = random_weight((48, 33), 96, (8, 4), 32, bias=True)
    assert weight.bias is not None
    expected = meant(random_codes(5, 96, 32, "cpu"), 96) @ dense.T + weight.bias
    logits = lm_head(random_codes(5, 96, 32, device), weight_on(weight, device))
    assert logits.dtype == torch.float32
    assert relative(logits.cpu(), expected) < ROUNDING[None]


@pytest.mark.parametrize(("bits", "group", "affine"), [(4, 64, True), (8, 32, False), (8, 64, True), (4, 32, False)])
def test_rows_and_codes_are_expanded_to_the_nearest_bf16(bits: int, group: int, affine: bool, device: str) -> None:
    weight, dense = random_weight((48, 150), 672, (bits, bits), group, affine=affine)
    strip = torch.empty(112, -(-672 // group) * group, dtype=torch.bfloat16, device=device)
    expand_rows(weight_on(weight, device), 32, 100, strip)  # 16 of the first piece and 84 of the second
    one = {"rtol": 2**-7, "atol": 1e-30}  # a step, for the interpreter cuts off
    torch.testing.assert_close(strip[:100, :672].cpu().double(), dense[32:132], **one)
    x = random_codes(3, 672, group, device)
    torch.testing.assert_close(
        expanded_codes(x)[:, :672].cpu().double(), meant(random_codes(3, 672, group, "cpu"), 672), **one
    )


@pytest.mark.parametrize(("rows", "columns"), [(4096, 14336), (28672, 4096), (8192, 28672), (128256, 8192), (33, 64)])
def test_strips_are_bounded_and_about_as_high(rows: int, columns: int) -> None:
    height = strip_rows(rows, columns)
    count = -(-rows // height)
    assert height % 128 == 0 and 2 * height * columns <= STRIP_BYTES
    assert height < rows / count + 128
    assert count <= 1.2 * 2 * rows * columns / STRIP_BYTES + 1


def check(case: Case, device: str, dtype: torch.dtype, tolerance: float) -> None:
    options = {"bias": case.bias, "affine": case.affine, "seed": sum(case.rows)}
    weight, dense = random_weight(case.rows, case.columns, case.bits, case.group, **options)
    x = random_codes(case.tokens, case.columns, case.group, "cpu")
    residual = None if case.residual is None else 100 * draw(case.tokens, weight.rows).to(case.residual)
    expected = meant(x, case.columns) @ dense.T
    expected += (0 if weight.bias is None else weight.bias) + (0 if residual is None else residual)
    y = linear(
        random_codes(case.tokens, case.columns, case.group, device),
        weight_on(weight, device),
        None if residual is None else residual.to(device),
    )
    assert y.dtype == dtype
    assert relative(y.cpu(), expected) < tolerance


def test_kernels_are_the_same_for_any_number_of_parts(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt's length decides how many there are, and compiling would let it wait."""
    if device == "cuda":
        pytest.skip("where there are more processors it takes more tokens to have other parts")
    forms: dict[str, set[tuple[tuple[str, object], ...]]] = {}

    def launch(self: Any, *args: object, grid: tuple[int, ...], warmup: bool, **constants: object) -> None:
        forms.setdefault(self.fn.__name__, set()).add(tuple(constants.items()))
        parts.add(grid[2] if len(grid) > 2 else 0)

    parts = set[int]()
    weight, _ = random_weight((128,), 2048, (4,), 32)
    with monkeypatch.context() as patch:
        patch.setattr(type(linear_mma_kernel), "run", launch)
        for tokens in range(65, 700, 64):
            linear(random_codes(tokens, 2048, 32, device), weight_on(weight, device))
    assert len(parts) > 3
    assert {name: len(found) for name, found in forms.items()} == {"linear_mma_kernel": 2, "add_parts_kernel": 1}
