"""What an op resolves to takes the reference's arguments and gives the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from llmrt.ops.registry import choose
from llmrt.ops.table import (
    ACTIVATED_LINEAR,
    ADD_ROWS,
    ADD_SCALED,
    ARGMAX,
    EMBEDDING_PACKED,
    GATE_ROWS,
    GATED_LINEAR,
    LAYER_NORM,
    MOE_EXPERTS,
    PAGED_ATTENTION,
    RMS_NORM,
    RMS_NORM_ADD,
    ROTARY_LINEAR,
    SAMPLE,
    SCALE,
)
from llmrt.ops.types import Op, OpSpec
from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.packed import Matrix, Weight
from llmrt_kernels.reference.quantize import quantize

T, H, KVH, D, PAGE = 5, 6, 2, 16, 16
SLOTS = torch.tensor([3, 40, 17, 33, 2])


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def rotary(tokens: int, scales: bool) -> list[Any]:
    cache, rows = (3, KVH, PAGE, D), (H + 2 * KVH) * D
    pages = [torch.zeros(cache, dtype=torch.int8 if scales else torch.float32) for _ in range(2)]
    steps = [torch.zeros(cache[:3]) if scales else None for _ in range(2)]
    positions, angles = torch.tensor([0, 4, 9, 2, 7]), random(10, 2, D // 2)
    turn = [positions[:tokens], angles, SLOTS[:tokens], LayerKVCache(*pages, *steps)]
    return [random(tokens, 40), random(rows, 40) / 5, random(rows), *turn]


def head_norm(kind: str) -> HeadNorm:
    q, k = (random(heads * D + heads) + 1 for heads in (H, KVH))
    if kind == "of rows":
        return HeadNorm(q[: H * D], k[: KVH * D], 1e-5)
    if kind == "centred":
        return HeadNorm(q[: H * D].view(H, D), k[: KVH * D].view(KVH, D), 1e-5, centred=True)
    return HeadNorm(q[:D], k[:D], 1e-5)


def attention() -> list[Any]:
    q, caches = random(T, H, D) * 3, [random(4, KVH, PAGE, D + i)[..., :D].contiguous() for i in (0, 1)]
    table, starts, lengths = torch.tensor([[2, 0], [3, 1]]), torch.tensor([0, 1, 5]), torch.tensor([20, 9])
    return [q, LayerKVCache(*caches), table, starts, lengths, 4, 0.5, None]


def experts() -> list[Any]:
    return [random(T, 32), random(4, 32), random(4, 96, 32) / 5, random(4, 32, 48) / 5, 2, random(T, 32)]


def mlp(tokens: int, activation: str) -> list[Any]:
    return [random(tokens, 40), random(96, 40) / 5, random(96), activation]


def packed_table() -> Weight:
    data, scales = quantize(random(40, 50), bits=8, group=32)
    return Weight((Matrix(data, scales, 8, 40),), 32)


def sampling() -> dict[str, Any]:
    return {
        "temperature": torch.linspace(0, 2, T),
        "top_k": torch.arange(T, dtype=torch.int32) * 3,
        "top_p": torch.linspace(1, 0.5, T),
        "min_p": torch.linspace(0, 0.1, T),
        "seeds": torch.arange(T) - 2,
        "draws": torch.arange(T) * 7,
        "any_top_k": True,
        "any_top_p": True,
    }


CASES: dict[str, tuple[Op[..., Any], Callable[[], list[Any]], Callable[[], dict[str, Any]]]] = {
    "argmax": (ARGMAX, lambda: [random(T, 99)], dict),
    "embedding_packed": (EMBEDDING_PACKED, lambda: [torch.tensor([0, 39, 5]), packed_table(), 50, torch.float16], dict),
    "rms_norm": (RMS_NORM, lambda: [random(T, 48), random(48), 1e-5, 0], dict),
    "rotary_linear": (ROTARY_LINEAR, lambda: rotary(T, False), dict),
    "rotary_linear-few": (ROTARY_LINEAR, lambda: rotary(3, False), dict),
    "rotary_linear-int8": (ROTARY_LINEAR, lambda: rotary(T, True), dict),
    "sample": (SAMPLE, lambda: [random(T, 99)], sampling),
    "gated_linear": (GATED_LINEAR, lambda: mlp(T, "gelu"), dict),
    "gated_linear-few": (GATED_LINEAR, lambda: mlp(3, "silu"), dict),
    "gated_linear-delta": (GATED_LINEAR, lambda: mlp(3, "silu"), lambda: {"delta": random(3, 96)}),
    "activated_linear": (ACTIVATED_LINEAR, lambda: mlp(T, "gelu"), dict),
    "activated_linear-few": (ACTIVATED_LINEAR, lambda: mlp(2, "relu"), dict),
    "activated_linear-delta": (ACTIVATED_LINEAR, lambda: mlp(2, "gelu"), lambda: {"delta": random(2, 96)}),
    "layer_norm": (LAYER_NORM, lambda: [random(T, 48), random(48), random(48), 1e-5, 0], dict),
    "rms_norm_add": (RMS_NORM_ADD, lambda: [random(T, 48), random(48), 1e-5, random(T, 48)], dict),
    "scale": (SCALE, lambda: [random(T, 48), 3.0, 2.0], dict),
    "scale-uncapped": (SCALE, lambda: [random(T, 1030), 3.0], dict),
    "add_scaled": (ADD_SCALED, lambda: [random(T, 48), 0.3, random(T, 48) + 1], dict),
    "add_rows": (ADD_ROWS, lambda: [random(T, 48), random(9, 48), torch.tensor([8, 0, 3, 3, 1])], dict),
    "gate_rows": (GATE_ROWS, lambda: [random(T, 48), random(1, 48), random(T, 80)], dict),
    "rotary_linear-norm": (ROTARY_LINEAR, lambda: rotary(3, False), lambda: {"head_norm": head_norm("of heads")}),
    "rotary_linear-row_norm": (ROTARY_LINEAR, lambda: rotary(3, False), lambda: {"head_norm": head_norm("of rows")}),
    "rotary_linear-layer_norm": (ROTARY_LINEAR, lambda: rotary(3, False), lambda: {"head_norm": head_norm("centred")}),
    "paged_attention-capped": (PAGED_ATTENTION, attention, lambda: {"cap": 2.0}),
    "paged_attention-slopes": (PAGED_ATTENTION, attention, lambda: {"slopes": random(H) / 4}),
    "moe_experts-undivided": (MOE_EXPERTS, experts, lambda: {"renormalize": False}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_references_twin(case: str, device: str) -> None:
    op, arguments, options = CASES[case]
    chosen, reference = choose(op, OpSpec(device, torch.float32)), op.candidates[-1]
    assert (chosen.backend, reference.backend) == ("triton", "reference")
    theirs, ours = ([moved(value, device) for value in arguments()] for _ in range(2))
    given = {name: moved(value, device) for name, value in options().items()}
    same(chosen.load()(*ours, **given), reference.load()(*theirs, **given))
    for mine, their in zip(ours, theirs, strict=True):  # what they write to
        for written, expected in zip(tensors(mine), tensors(their), strict=True):
            same(written, expected)


def moved(value: Any, device: str) -> Any:
    if isinstance(value, Weight):
        (piece,) = value.pieces
        return Weight((Matrix(piece.data.to(device), piece.scales.to(device), 8, piece.rows),), value.group)
    if isinstance(value, HeadNorm):
        return replace(value, q=value.q.to(device), k=value.k.to(device))
    if isinstance(value, LayerKVCache):
        return LayerKVCache(*(tensor.to(device) for tensor in value.tensors))
    return value.to(device) if isinstance(value, Tensor) else value


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, LayerKVCache):
        return value.tensors
    return [value] if isinstance(value, Tensor) else []


def same(ours: Tensor, theirs: Tensor) -> None:
    """To rounding; a code may be the next one where a value is in the middle."""
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours.double(), theirs.double(), atol=1 if ours.dtype == torch.int8 else 1e-5, rtol=1e-5)
