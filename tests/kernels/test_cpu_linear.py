"""The packed products, on every instruction set of this machine, against float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llmrt_kernels.cpu.linear import embedding_packed, linear_packed
from tests.kernels.packing import Packed, random_packed

pytestmark = pytest.mark.usefixtures("isa")


def quantized(x: Tensor, group: int) -> Tensor:
    """What the kernel makes of its input: int8 with a scale for each group, as float64."""
    columns = x.shape[1]
    padded = torch.nn.functional.pad(x, (0, -columns % group)).unflatten(1, (-1, group))
    scale = padded.abs().amax(-1, keepdim=True) / 127
    inverse = torch.where(scale > 0, 127 / padded.abs().amax(-1, keepdim=True), 0.0)
    return ((padded * inverse).round().double() * scale.double()).flatten(1)[:, :columns]


def run(x: Tensor, weight: Packed, bias: Tensor | None = None) -> Tensor:
    wide = torch.full((x.shape[0], weight.dense.shape[0] + 5), float("nan"))
    out = wide[:, : weight.dense.shape[0]]
    linear_packed(x, weight.data, weight.scales, weight.zeros, bias, out, bits=weight.bits, group=weight.group)
    assert wide[:, weight.dense.shape[0] :].isnan().all(), "written past the rows"
    return out


@pytest.mark.parametrize(("rows", "columns"), [(16, 64), (1, 32), (50, 96), (33, 200), (100, 576)])
@pytest.mark.parametrize("tokens", [1, 2, 5, 6, 7, 13])
@pytest.mark.parametrize(("bits", "zeros"), [(4, False), (4, True), (8, False)])
@pytest.mark.parametrize("group", [32, 64])
def test_equals_the_formula(rows: int, columns: int, tokens: int, bits: int, zeros: bool, group: int) -> None:
    weight = random_packed(rows, columns, bits, group, zeros=zeros, seed=rows + bits)
    generator = torch.Generator().manual_seed(tokens)
    x = torch.randn(tokens, columns, generator=generator) * torch.rand(tokens, 1, generator=generator) * 10
    bias = torch.randn(rows, generator=generator) if tokens % 2 else None
    expected = quantized(x, group) @ weight.dense.T + (0 if bias is None else bias.double())
    error = (run(x, weight, bias).double() - expected).norm() / expected.norm()
    assert error < 1e-6


@pytest.mark.parametrize("bits", [4, 8])
def test_quantizing_the_activations_costs_little(bits: int) -> None:
    weight = random_packed(64, 512, bits, 32, zeros=False)
    x = torch.randn(4, 512, generator=torch.Generator().manual_seed(0))
    expected = x.double() @ weight.dense.T
    assert (run(x, weight).double() - expected).norm() / expected.norm() < 1e-2


@pytest.mark.parametrize("bits", [4, 8])
def test_a_token_does_not_depend_on_those_beside_it(bits: int) -> None:
    weight = random_packed(70, 576, bits, 64, zeros=bits == 4)
    x = torch.randn(29, 576, generator=torch.Generator().manual_seed(1))
    together = run(x, weight)
    for i in range(29):
        assert torch.equal(run(x[i : i + 1].contiguous(), weight)[0], together[i])


def test_extremes() -> None:
    weight = random_packed(16, 64, 8, 32, zeros=False)
    for x in (torch.zeros(1, 64), torch.full((1, 64), 1e30), torch.full((1, 64), 1e-30)):
        expected = x.double() @ weight.dense.T
        assert (run(x, weight).double() - expected).norm() <= 1e-5 * expected.norm()


def test_rows_of_a_table() -> None:
    table = random_packed(50, 100, 8, 32, zeros=False)
    ids = torch.tensor([49, 0, 17, 17, 16])
    rows = embedding_packed(ids, table.data, table.scales, 100, group=32)
    torch.testing.assert_close(rows.double(), table.dense[ids])
