"""Mixtures of experts with packed weights, on every instruction set of this machine, against float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llmrt_kernels.cpu.library import load
from llmrt_kernels.cpu.linear import quantize_rows
from llmrt_kernels.cpu.moe import expert_gated_linear, expert_linear, moe_experts, route
from llmrt_kernels.packed import Codes, Weight
from llmrt_kernels.reference.moe import moe_experts_packed
from tests.kernels.operands import draw
from tests.kernels.packing import meant, random_weight

pytestmark = pytest.mark.usefixtures("isa")

HIDDEN, INNER, GROUP = 96, 80, 64  # neither is whole groups


def experts_of(num_experts: int, bits: int, *, affine: bool = False) -> tuple[Weight, Tensor, Weight, Tensor]:
    """Packed gate_up and down of all experts, and what they stand for, [E, 2 I, N] and [E, N, I]."""
    gate_up, dense_gate_up = random_weight((num_experts * 2 * INNER,), HIDDEN, (bits,), GROUP, affine=affine, seed=1)
    down, dense_down = random_weight((num_experts * HIDDEN,), INNER, (bits,), GROUP, affine=affine, seed=2)
    return gate_up, dense_gate_up.chunk(num_experts), down, dense_down.chunk(num_experts)


def chosen(x: Tensor, router: Tensor, num_active: int, *, renormalize: bool) -> tuple[Tensor, Tensor]:
    probabilities = (x @ router.double().T).softmax(1)
    experts = probabilities.argsort(dim=1, descending=True, stable=True)[:, :num_active]
    weights = probabilities.gather(1, experts)
    return weights / weights.sum(1, keepdim=True) if renormalize else weights, experts


def rows_of(codes: Codes, rows: Tensor) -> Codes:
    return Codes(codes.codes[rows], codes.scales[rows], codes.sums[rows], codes.group)


@pytest.mark.parametrize("tokens", [1, 2, 7, 33])
@pytest.mark.parametrize(("num_experts", "num_active"), [(4, 1), (4, 2), (8, 2), (8, 8), (1, 1)])
@pytest.mark.parametrize("renormalize", [True, False])
def test_routing_equals_the_formula(tokens: int, num_experts: int, num_active: int, renormalize: bool) -> None:
    x, router = quantize_rows(draw(tokens, HIDDEN), GROUP), draw(num_experts, HIDDEN) / 10
    routing, pairs = route(x, router, num_active, renormalize=renormalize)
    weights, experts = chosen(meant(x, HIDDEN), router, num_active, renormalize=renormalize)
    assert torch.equal(routing.experts, experts)
    torch.testing.assert_close(routing.weights.double(), weights, rtol=1e-5, atol=1e-7)
    counts = experts.flatten().bincount(minlength=num_experts)
    assert routing.starts.tolist() == [0, *counts.cumsum(0).tolist()]
    by_expert = experts.flatten().argsort(stable=True)  # the pair in each row
    assert torch.equal(routing.rows.flatten()[by_expert], torch.arange(tokens * num_active))
    assert torch.equal(meant(pairs, HIDDEN), meant(x, HIDDEN)[by_expert // num_active])


def test_of_experts_alike_the_lower_is_chosen() -> None:
    router = draw(1, HIDDEN).expand(4, HIDDEN).contiguous()
    routing, _ = route(quantize_rows(draw(3, HIDDEN), GROUP), router, 2)
    assert routing.experts.tolist() == [[0, 1]] * 3
    assert routing.weights.tolist() == [[0.5, 0.5]] * 3


@pytest.mark.parametrize("tokens", [1, 3, 9, 29])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("num_experts", "num_active"), [(4, 1), (4, 2), (8, 2)])
@pytest.mark.parametrize("favoured", [False, True])
def test_the_experts_products_equal_the_formula(
    tokens: int, bits: int, num_experts: int, num_active: int, favoured: bool
) -> None:
    """With ``favoured`` the last expert is the first choice of all tokens, and most have no token at all."""
    gate_up, dense_gate_up, down, dense_down = experts_of(num_experts, bits, affine=not favoured)
    values, router = draw(tokens, HIDDEN) / 10, draw(num_experts, HIDDEN) / 10
    if favoured:
        values, router = values.abs(), torch.linspace(1, 2, num_experts).unsqueeze(1).expand(-1, HIDDEN).contiguous()
    x = quantize_rows(values, GROUP)
    routing, pairs = route(x, router, num_active)
    assert not favoured or routing.starts[-2] == tokens * (num_active - 1)
    hidden = expert_gated_linear(pairs, gate_up, routing)
    residual = draw(tokens, HIDDEN)
    out = expert_linear(hidden, down, routing, residual)
    expected = residual.double()
    for t in range(tokens):
        for c in range(num_active):
            expert, row = int(routing.experts[t, c]), routing.rows[t, c : c + 1]
            both = dense_gate_up[expert] @ meant(x, HIDDEN)[t]
            cut = [2 * GROUP, 2 * (INNER - GROUP)]  # a group of gate, one of up, then what is left of each
            gate, up = (torch.cat(half) for half in zip(*(part.chunk(2) for part in both.split(cut)), strict=True))
            silu, actual = gate * gate.sigmoid() * up, rows_of(hidden, row)
            assert (meant(actual, INNER)[0] - silu).abs().max() <= 0.51 * actual.scales.max()
            expected[t] += routing.weights[t, c].double() * (dense_down[expert] @ meant(actual, INNER)[0])
    assert (out.double() - expected).norm() / expected.norm() < 1e-6
    wide = moe_experts_packed(meant(x, HIDDEN).float(), router, gate_up, down, num_active, residual)
    assert (out - wide).norm() / wide.norm() < 2e-2


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_token_depends_neither_on_those_beside_it_nor_on_threads(threads: int) -> None:
    gate_up, _, down, _ = experts_of(4, 4)
    x, router, residual = draw(19, HIDDEN), draw(4, HIDDEN), draw(19, HIDDEN, seed=1)
    library = load()
    assert library is not None
    library.set_threads(threads)
    together = moe_experts(quantize_rows(x, GROUP), router, gate_up, down, 2, residual)
    library.set_threads(3)
    for i in range(19):
        one = slice(i, i + 1)
        alone = moe_experts(quantize_rows(x[one], GROUP), router, gate_up, down, 2, residual[one].contiguous())
        assert torch.equal(alone[0], together[i])
