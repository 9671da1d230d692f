"""Mixtures of experts with packed weights against float64, each step from what the one before it gave."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llmrt_kernels.packed import Codes, Weight
from llmrt_kernels.reference.moe import moe_experts, moe_experts_packed
from llmrt_kernels.triton import expert_tiles, moe, moe_dense
from llmrt_kernels.triton.codes import quantize_rows
from llmrt_kernels.triton.expert_tiles import tiles_of
from llmrt_kernels.triton.routing import mix, route, route_codes
from llmrt_kernels.triton.tiles import TILES
from tests.kernels.operands import draw, relative
from tests.kernels.packing import meant, random_weight
from tests.triton.interpreted.test_triton_linear import ROUNDING, random_codes, weight_on

HIDDEN, INNER = 96, 80  # neither is whole groups of 64


def experts_of(num_experts: int, bits: int, group: int, device: str, *, affine: bool) -> tuple[Weight, Weight]:
    gate_up, _ = random_weight((num_experts * 2 * INNER,), HIDDEN, (bits,), group, affine=affine, seed=1)
    down, _ = random_weight((num_experts * HIDDEN,), INNER, (bits,), group, affine=affine, seed=2)
    return weight_on(gate_up, device), weight_on(down, device)


def chosen(logits: Tensor, num_active: int) -> tuple[Tensor, Tensor]:
    probabilities = logits.double().softmax(1)
    experts = probabilities.argsort(dim=1, descending=True, stable=True)[:, :num_active]
    weights = probabilities.gather(1, experts)
    return weights / weights.sum(1, keepdim=True), experts


@pytest.mark.parametrize(
    ("tokens", "num_experts", "num_active"), [(1, 8, 2), (3, 4, 1), (5, 5, 5), (2, 1, 1), (2, 130, 8)]
)
def test_routing_equals_the_formula(tokens: int, num_experts: int, num_active: int, device: str) -> None:
    router = draw(num_experts, HIDDEN) / 10
    x = random_codes(tokens, HIDDEN, 64, "cpu")
    x.scales.mul_(0.03)
    expected_weights, expected = chosen(meant(x, HIDDEN) @ router.double().T, num_active)
    on_device = Codes(x.codes.to(device), x.scales.to(device), x.sums.to(device), 64)
    weights, experts = route_codes(on_device, router.to(device), num_active)
    assert torch.equal(experts.cpu(), expected)
    torch.testing.assert_close(weights.cpu().double(), expected_weights, rtol=1e-4, atol=1e-7)
    logits = draw(tokens, num_experts, seed=1)
    weights, experts = route(logits.to(device), num_active)
    expected_weights, expected = chosen(logits, num_active)
    assert torch.equal(experts.cpu(), expected)
    torch.testing.assert_close(weights.cpu().double(), expected_weights, rtol=1e-5, atol=1e-7)


def test_of_experts_alike_the_lower_is_chosen(device: str) -> None:
    weights, experts = route(torch.zeros(3, 4, device=device), 2)
    assert experts.tolist() == [[0, 1]] * 3
    assert weights.tolist() == [[0.5, 0.5]] * 3


@pytest.mark.parametrize(("tokens", "num_experts", "tile"), [(1, 4, 16), (9, 8, 4), (40, 3, 16), (5, 1, 8)])
@pytest.mark.parametrize("favoured", [False, True])
def test_each_pair_is_in_a_tile_of_its_expert(
    tokens: int, num_experts: int, tile: int, favoured: bool, device: str
) -> None:
    """With ``favoured`` all pairs are of the last expert, so that most experts have none."""
    experts = torch.randint(0, num_experts, (tokens, 2), generator=torch.Generator().manual_seed(tokens))
    if favoured:
        experts.fill_(num_experts - 1)
    tiles = tiles_of(experts.to(device), num_experts, tile)
    seen: list[int] = []
    for expert, pairs in zip(tiles.experts.tolist(), tiles.pairs.tolist(), strict=True):
        if expert >= 0:
            assert all(experts.flatten()[pair] == expert for pair in pairs)
            seen += sorted(set(pairs))
    assert sorted(seen) == list(range(2 * tokens))


@pytest.mark.parametrize(("tokens", "num_experts", "num_active", "tile"), [(100, 20, 3, 16), (77, 8, 2, 8)])
def test_tiles_are_those_of_a_stable_sort(
    tokens: int, num_experts: int, num_active: int, tile: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pairs are more stretches than are added up at a time."""
    monkeypatch.setattr(expert_tiles, "COMPARED", 16)
    draw = torch.rand(tokens, num_experts, generator=torch.Generator().manual_seed(tile))
    experts = draw.argsort(1)[:, :num_active].contiguous()
    tiles = tiles_of(experts.to(device), num_experts, tile)
    order = experts.flatten().argsort(stable=True)
    of_expert = order.split(experts.flatten().bincount(minlength=num_experts).tolist())
    cut = [(expert, part) for expert, pairs in enumerate(of_expert) for part in pairs.split(tile) if len(part)]
    assert tiles.experts.tolist() == [expert for expert, _ in cut] + [-1] * (tiles.count - len(cut))
    for pairs, (_, part) in zip(tiles.pairs.cpu(), cut, strict=False):
        assert pairs.tolist() == part.tolist() + [int(part[-1])] * (tile - len(part))


@pytest.mark.parametrize(
    ("tokens", "num_experts", "num_active", "bits", "group", "dtype"),
    [
        (1, 4, 2, 4, 64, torch.float32),
        (2, 8, 2, 8, 32, torch.bfloat16),
        (1, 3, 3, 8, 64, torch.float16),
        (19, 4, 2, 4, 32, torch.bfloat16),
        (40, 3, 1, 8, 64, torch.float32),
    ],
)
def test_experts_equal_the_formula(
    tokens: int, num_experts: int, num_active: int, bits: int, group: int, dtype: torch.dtype, device: str
) -> None:
    gate_up, down = experts_of(num_experts, bits, group, device, affine=group == 32)
    x = quantize_rows(draw(tokens, HIDDEN).to(device) / 10, group)
    router = draw(num_experts, HIDDEN) / 10
    residual = draw(tokens, HIDDEN, seed=1).to(dtype)
    out = moe.moe_experts(x, router.to(device), gate_up, down, num_active, residual.to(device))
    assert out.dtype == dtype
    values = meant(Codes(x.codes.cpu(), x.scales.cpu(), x.sums.cpu(), group), HIDDEN).float()
    packed = [weight_on(weight, "cpu") for weight in (gate_up, down)]
    expected = moe_experts_packed(values, router, *packed, num_active, residual.float())
    allowed = 2e-2 * (expected - residual).norm() + ROUNDING[dtype] * expected.norm()
    assert (out.cpu() - expected).norm() < allowed


@pytest.mark.parametrize("affine", [False, True])
def test_the_second_half_is_exact(affine: bool, device: str) -> None:
    """Its input is rounded already, so few pairs and many differ from float64 by rounding of fp32 alone."""
    num_experts, pairs = 3, 5
    down, dense = random_weight((num_experts * HIDDEN,), INNER, (4,), 64, affine=affine, seed=2)
    by_expert = dense.chunk(num_experts)
    hidden = random_codes(pairs, INNER, 64, "cpu")
    experts = torch.randint(0, num_experts, (pairs, 1), generator=torch.Generator().manual_seed(0))
    values = meant(hidden, INNER)
    expected = torch.stack([by_expert[int(e)] @ row for e, row in zip(experts, values, strict=True)])
    on_device = random_codes(pairs, INNER, 64, device)
    weight = weight_on(down, device)
    few = moe._few_linear(on_device, weight, experts.to(device), num_experts)
    assert relative(few.cpu(), expected) < 2e-6
    tile = TILES[0]
    tiles = tiles_of(experts.to(device), num_experts, tile.tokens)
    many = moe._many_linear(on_device, weight, tiles, tile, num_experts)
    assert relative(many.cpu(), expected) < 2e-6


def test_the_mix_is_a_weighted_sum(device: str) -> None:
    products, weights, residual = draw(10, 48), draw(5, 2).softmax(1), draw(5, 48)
    expected = residual + (products.view(5, 2, 48) * weights.unsqueeze(2)).sum(1)
    actual = mix(products.to(device), weights.to(device), residual.to(device))
    torch.testing.assert_close(actual.cpu(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("tokens", "num_experts", "num_active", "dtype"),
    [(1, 8, 2, torch.float32), (3, 3, 3, torch.float16), (40, 3, 2, torch.float32), (100, 1, 1, torch.float16)],
)
def test_dense_experts_equal_the_formula(
    tokens: int, num_experts: int, num_active: int, dtype: torch.dtype, device: str
) -> None:
    """Not of bf16: the interpreter's matrix product takes its bits for integers."""
    x, residual, router = draw(tokens, HIDDEN), draw(tokens, HIDDEN, seed=1), draw(num_experts, HIDDEN) / 5
    gate_up, down = draw(num_experts, 2 * INNER, HIDDEN) / 10, draw(num_experts, HIDDEN, INNER) / 10
    inputs = [tensor.to(dtype) for tensor in (x, router, gate_up, down, residual)]
    expected = moe_experts(*(tensor.double() for tensor in inputs[:4]), num_active, inputs[4].double())
    on_device = [tensor.to(device) for tensor in inputs]
    out = moe_dense.moe_experts(*on_device[:4], num_active, on_device[4])
    assert out.dtype == dtype
    assert relative(out.cpu(), expected) < ROUNDING[dtype]
