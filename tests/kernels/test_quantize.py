"""Quantizing: native and reference agree, nothing is worse than rounding, and the extremes stay in bounds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llmrt_kernels.cpu.library import load
from llmrt_kernels.cpu.quantize import quantize as native
from llmrt_kernels.packed import Matrix
from llmrt_kernels.reference.linear_packed import dequantize
from llmrt_kernels.reference.quantize import quantize as reference

pytestmark = pytest.mark.usefixtures("isa")

SHAPES = [(16, 64), (1, 32), (37, 200), (64, 576)]
RANK = 5


def weight(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    heavy = torch.randn(rows, columns, generator=generator) ** 3
    return heavy * torch.rand(rows, 1, generator=generator)


def guide(columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Importance, directions and correction of no meaning, so small that errors do not grow from column to column."""
    generator = torch.Generator().manual_seed(columns)
    directions, correction = (torch.randn(columns, RANK, generator=generator) for _ in range(2))
    return torch.rand(columns, generator=generator) + 0.1, directions, correction * 0.5 / columns


def restored(packed: tuple[Tensor, Tensor], shape: tuple[int, int], bits: int, group: int) -> Tensor:
    return dequantize(Matrix(*packed, bits, shape[0]), group)[:, : shape[1]].double()


def error(w: Tensor, packed: tuple[Tensor, Tensor], bits: int, group: int, importance: Tensor | None = None) -> float:
    off = (restored(packed, tuple(w.shape), bits, group) - w.double()) ** 2
    return float((off if importance is None else off * importance.double()).sum())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("group", [32, 64])
def test_native_is_as_good_as_the_reference(shape: tuple[int, int], bits: int, group: int) -> None:
    """The codes are not compared: candidates of nearly the same error are common, and sums differ in order."""
    w, importance = weight(*shape, shape[0]), guide(shape[1])[0]
    ours, theirs = (fn(w, importance, bits=bits, group=group) for fn in (native, reference))
    assert [t.shape for t in ours] == [t.shape for t in theirs]
    expected = error(w, theirs, bits, group, importance)
    assert error(w, ours, bits, group, importance) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bits", [4, 8])
def test_feedback_is_that_of_the_reference(shape: tuple[int, int], bits: int) -> None:
    w, (_, directions, correction) = weight(*shape, shape[0]), guide(shape[1])
    ours, theirs = (fn(w, None, directions, correction, bits=bits, group=32) for fn in (native, reference))
    off = restored(ours, shape, bits, 32) - restored(theirs, shape, bits, 32)
    assert off.norm() < (0.03 if bits == 4 else 0.003) * w.norm()
    plain = restored(native(w, bits=bits, group=32), shape, bits, 32)
    assert shape == (1, 32) or (plain - restored(ours, shape, bits, 32)).norm() > 2 * off.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_weights_as_they_are_stored_give_the_bits_of_their_values(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    w = weight(*shape).to(dtype)
    stored, widened = (native(each, *guide(shape[1]), bits=4, group=64) for each in (w, w.float()))
    assert all(torch.equal(a, b) for a, b in zip(stored, widened, strict=True))


@pytest.mark.parametrize("bits", [4, 8])
def test_threads_do_not_change_a_bit(bits: int) -> None:
    library = load()
    assert library is not None
    w, made = weight(200, 160), []
    for threads in (1, 2, 5):
        library.set_threads(threads)
        made.append(native(w, *guide(160), bits=bits, group=64))
    for packed in made[1:]:
        assert all(torch.equal(a, b) for a, b in zip(packed, made[0], strict=True))


@pytest.mark.parametrize(("bits", "group", "gain"), [(4, 32, 0.7), (4, 64, 0.7), (8, 32, 0.95), (8, 64, 0.95)])
def test_searching_is_better_than_rounding_to_the_largest(bits: int, group: int, gain: float) -> None:
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(64, 512, generator=generator)
    groups = w.double().unflatten(1, (-1, group))
    scale = groups.abs().amax(-1, keepdim=True) / ((1 << (bits - 1)) - 1)
    nearest = (groups / scale).round() * scale
    assert error(w, native(w, bits=bits, group=group), bits, group) < gain * float(((nearest - groups) ** 2).sum())


def test_what_matters_more_is_rounded_better() -> None:
    w, importance = weight(64, 256), torch.ones(256)
    importance[::7] = 100
    heeded, ignored = (native(w, given, bits=4, group=64) for given in (importance, None))
    assert error(w, heeded, 4, 64, importance) < 0.9 * error(w, ignored, 4, 64, importance)


@pytest.mark.parametrize("bits", [4, 8])
def test_extremes(bits: int) -> None:
    w = torch.zeros(16, 64)
    w[1] = 3.0
    w[2] = -5e4
    w[3, 7] = 1e4
    w[4] = 1e-7
    w[5, :2] = torch.tensor([6.0, -6.0])
    back = restored(native(w, bits=bits, group=64), (16, 64), bits, 64)
    assert back.isfinite().all()
    assert (back[0] == 0).all()
    for row in (1, 2, 3, 5):
        torch.testing.assert_close(back[row], w[row].double(), rtol=0.15, atol=0)
