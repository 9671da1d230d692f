"""Mixture of experts against a loop over tokens and experts in float64."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.reference.moe import moe_experts


@pytest.mark.parametrize("num_active", [1, 2, 3])
@pytest.mark.parametrize("tokens", [1, 2, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("renormalize", [True, False])
def test_equals_a_loop_over_experts(tokens: int, num_active: int, dtype: torch.dtype, renormalize: bool) -> None:
    experts, hidden, inner = 5, 24, 36
    generator = torch.Generator().manual_seed(tokens)
    x, residual, router, gate_up, down = (
        torch.randn(*shape, generator=generator).to(dtype)
        for shape in (
            (tokens, hidden),
            (tokens, hidden),
            (experts, hidden),
            (experts, 2 * inner, hidden),
            (experts, hidden, inner),
        )
    )
    expected = residual.double()
    for t in range(tokens):
        probs = (router @ x[t]).double().softmax(0)
        chosen = probs.argsort(descending=True)[:num_active]
        for e in chosen.tolist():
            both = gate_up[e].double() @ x[t].double()
            gate, up = both[:inner], both[inner:]
            share = probs[e] / probs[chosen].sum() if renormalize else probs[e]
            expected[t] += share * (down[e].double() @ (gate * gate.sigmoid() * up))
    out = moe_experts(x, router, gate_up, down, num_active, residual, renormalize=renormalize)
    tolerance = 1e-4 if dtype == torch.float32 else 3e-2
    assert out.dtype == dtype
    assert (out.double() - expected).norm() / expected.norm() < tolerance
