"""Error feedback against least squares solved column by column in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from llmrt.ops.types import OpSpec
from llmrt.quant.feedback import feedback_from
from llmrt.quant.packed_weight import PackedWeight
from llmrt.quant.quantize import quantize
from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.reference.linear_packed import dequantize, unpack_codes

SPEC = OpSpec("cpu", torch.float32, group=64)


def inputs(tokens: int, columns: int) -> Tensor:
    """Correlated, and some columns much larger than others, as activations are."""
    generator = torch.Generator().manual_seed(tokens + columns)
    hidden = torch.randn(tokens, 4, generator=generator) @ torch.randn(4, columns, generator=generator)
    x = hidden + 0.3 * torch.randn(tokens, columns, generator=generator)
    return x * (torch.rand(columns, generator=generator) * 3).exp()


def weight(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows))


def restored(packed: PackedWeight) -> Tensor:
    scheme, (rows, columns) = packed.scheme, packed.shape
    return dequantize(packed.matrix, scheme.group)[:rows, :columns].double()


def best_answer(drift: Tensor, rest: Tensor, lam: float) -> Tensor:
    """The e [N, K'] for which |drift + e rest^T|^2 + lam |e|^2 is least; drift [N, R], rest [R, K']."""
    count = rest.shape[1]
    system = torch.cat((rest, lam**0.5 * torch.eye(count, dtype=torch.float64)))
    wanted = torch.cat((-drift.T, torch.zeros(count, drift.shape[0], dtype=torch.float64)))
    return torch.linalg.lstsq(system, wanted).solution.T


@pytest.mark.parametrize(("rows", "columns", "tokens", "rank"), [(3, 70, 40, 8), (17, 33, 5, 8), (20, 130, 60, 3)])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kernels", ["cpu", "reference"])
def test_each_column_makes_good_what_those_before_it_did(
    rows: int, columns: int, tokens: int, rank: int, bits: int, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMRT_KERNELS", kernels)
    w, x = weight(rows, columns), inputs(tokens, columns)
    packed = quantize(w, QuantScheme(bits, 32), SPEC, feedback_from(x, damping=0.5, rank=rank))
    codes = unpack_codes(packed.data, bits)[:rows, :columns].double() - (1 << (bits - 1))
    scales = packed.scales.transpose(1, 2).flatten(0, 1)[:rows].double().repeat_interleave(32, 1)[:, :columns]
    q, wide = codes * scales, w.double()
    scaled = x.double() / tokens**0.5
    lam = 0.5 * float(scaled.square().sum(0).mean())
    _, values, right = torch.linalg.svd(scaled, full_matrices=False)
    u = values[:rank, None] * right[:rank]
    near = []
    for k in range(columns):
        drift = (wide[:, :k] - q[:, :k]) @ u[:, :k].T
        target = wide[:, k] - best_answer(drift, u[:, k:], lam)[:, 0]
        exact = (target / scales[:, k]).clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        near.append((codes[:, k] - exact).abs().max().item())
    assert max(near) < 0.502  # the nearest code, or its neighbour where fp32 decides a tie


@pytest.mark.parametrize("bits", [4, 8])
def test_products_with_what_was_seen_are_nearer(bits: int) -> None:
    w, x = weight(40, 200), inputs(64, 200)
    plain, steered = (
        ((restored(quantize(w, QuantScheme(bits, 64), SPEC, feedback)) - w.double()) @ x.double().T).norm()
        for feedback in (None, feedback_from(x, damping=0.3, rank=16))
    )
    assert steered < 0.5 * plain


def test_inputs_that_say_nothing_change_nothing() -> None:
    w = weight(20, 96)
    silent = feedback_from(torch.zeros(7, 96), damping=1.0, rank=4)
    plain, steered = (restored(quantize(w, QuantScheme(4, 32), SPEC, given)) for given in (None, silent))
    assert torch.equal(plain, steered)


def test_a_weight_of_several_strips_is_what_its_rows_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMRT_KERNELS", "reference")
    w, feedback = weight(70, 64), feedback_from(inputs(30, 64), damping=1.0, rank=8)
    whole = quantize(w, QuantScheme(4, 32), SPEC, feedback)
    monkeypatch.setattr("llmrt_kernels.reference.quantize.STRIP_VALUES", 32 * 64)
    strips = quantize(w, QuantScheme(4, 32), SPEC, feedback)
    assert torch.equal(whole.data, strips.data)
    assert torch.equal(whole.scales, strips.scales)
