"""Weights quantized by the GPU's kernel have the bytes that the CPU's kernel gives them."""

from __future__ import annotations

import pytest
import torch

from llmrt.ops.registry import choose
from llmrt.ops.rules import native_library
from llmrt.ops.table import QUANTIZE
from llmrt.ops.types import OpSpec
from llmrt.quant.feedback import feedback_from
from llmrt.quant.quantize import quantize as quantize_by
from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.cpu.quantize import quantize as native
from llmrt_kernels.triton.quantize import quantize
from tests.kernels.test_quantize import guide, weight

pytestmark = pytest.mark.skipif(native_library() is None, reason="the native kernels were not built")


@pytest.mark.parametrize(
    ("shape", "dtype", "bits", "group", "guided"),
    [
        ((19, 90), torch.bfloat16, 4, 64, True),
        ((300, 40), torch.float32, 4, 32, True),
        ((16, 64), torch.float16, 4, 64, False),
        ((21, 50), torch.bfloat16, 8, 32, True),
        ((48, 64), torch.float32, 8, 32, False),
    ],
)
def test_bytes_are_those_of_the_cpu(
    shape: tuple[int, int], dtype: torch.dtype, bits: int, group: int, guided: bool, device: str
) -> None:
    w = weight(*shape, seed=bits).to(dtype)
    w[3] = 0
    given = guide(shape[1]) if guided else ()
    expected = native(w, *given, bits=bits, group=group)
    got = quantize(w.to(device), *(t.to(device) for t in given), bits=bits, group=group)
    for ours, theirs in zip(got, expected, strict=True):
        assert torch.equal(ours.cpu(), theirs)


def test_experts_are_quantized_for_their_inputs_where_they_will_be_used(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = torch.stack([weight(16, 24, seed) for seed in (1, 2)]).bfloat16()
    feedback = feedback_from(torch.randn(3, 24, generator=torch.Generator().manual_seed(0)), damping=1.0, rank=16)
    scheme, spec = QuantScheme(bits=4, group=32), OpSpec(device, torch.float32, group=32)
    expected = quantize_by(stack, scheme, OpSpec("cpu", torch.float32, group=32), feedback)
    monkeypatch.setenv("LLMRT_KERNELS", "triton")
    assert choose(QUANTIZE, spec).backend == "triton"
    packed = quantize_by(stack, scheme, spec, feedback)
    assert packed.data.device.type == device
    assert torch.equal(packed.data.cpu(), expected.data)
    assert torch.equal(packed.scales.cpu(), expected.scales)
