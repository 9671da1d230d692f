"""Bytes that a model's weights take in memory, known from its headers. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from llmrt.model.checkpoints.headers import Headers
from llmrt.model.checkpoints.kept import kept_schemes
from llmrt.model.checkpoints.tensor_slots import Slot, tensor_slots
from llmrt.model.config import ModelConfig
from llmrt.model.families.family import TensorNames
from llmrt.ops.rules import Case
from llmrt.quant.recipe import EXPERT_ROLES, Recipe
from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.layout import BLOCK

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1, "fp8": 1}

Sizes = Iterator[tuple[Slot, int]]


def tensor_bytes(model: Headers, case: Case, recipe: Recipe | None) -> Sizes:
    """Each tensor's place and the bytes that it takes there: quantized, in blocks of rows, or as torch multiplies."""
    if recipe is not None:
        return quantized_bytes(model.config, recipe)
    if case.group:
        return _kept_bytes(model, case.device)
    return _block_bytes(model, case.dtype) if case.in_blocks else dense_bytes(model.config, case.dtype)


def dense_bytes(model: ModelConfig, dtype: str) -> Sizes:
    """Every number in ``dtype``."""
    for slot in tensor_slots(model, TensorNames()).values():
        yield slot, math.prod(slot.shape) * BYTES[dtype]


def quantized_bytes(model: ModelConfig, recipe: Recipe) -> Sizes:
    """Matrices as ``recipe`` has them, scales included, rows padded to blocks and columns to groups; the rest fp32."""
    for slot in tensor_slots(model, TensorNames()).values():
        scheme = recipe.scheme(slot.role) if slot.role else None
        yield slot, _packed(slot, scheme) if scheme else math.prod(slot.shape) * BYTES["fp32"]


def total(sizes: Sizes) -> int:
    """The sum of ``sizes``."""
    return sum(size for _, size in sizes)


def read_by_a_token(model: ModelConfig, sizes: Sizes) -> int:
    """Bytes that decoding one token reads: active experts alone, and no table that is not the head."""
    moe, tied = model.moe, model.tied_embeddings
    share = moe.num_active / moe.num_experts if moe else 1.0
    parts = {"embedding": 1.0 if tied else 0.0, **dict.fromkeys(EXPERT_ROLES, share)}
    return round(sum(size * parts.get(slot.role or "", 1.0) for slot, size in sizes))


def block_dtypes(model: Headers, slots: dict[str, Slot], dtype: str) -> dict[str, str]:
    """The type of each matrix in blocks whose tensors are there, by its parameter.

    Where products take fp32 it is the one that is stored; pieces that are stored in several types get fp32.
    """
    found: dict[str, str] = {}
    for name, stored in model.inventory.items():
        if name in slots and slots[name].role is not None:
            parameter, kept = slots[name].parameter, stored.dtype if dtype == "fp32" else dtype
            found[parameter] = kept if found.get(parameter, kept) == kept else "fp32"
    return found


def _block_bytes(model: Headers, dtype: str) -> Sizes:
    slots = tensor_slots(model.config, model.names)
    dtypes = block_dtypes(model, slots, dtype)
    for slot in slots.values():
        rows = _whole(slot.shape[-2], BLOCK) if slot.role else 1
        size = math.prod(slot.shape[:-2]) * rows * slot.shape[-1] if slot.role else math.prod(slot.shape)
        yield slot, size * BYTES[dtypes.get(slot.parameter, "fp32")]


def _kept_bytes(model: Headers, device: str) -> Sizes:
    slots = tensor_slots(model.config, model.names)
    schemes = kept_schemes(model.inventory, slots, device)
    for name, slot in slots.items():
        yield slot, _packed(slot, schemes[name]) if name in schemes else math.prod(slot.shape) * BYTES["fp32"]


def _packed(slot: Slot, scheme: QuantScheme) -> int:
    *stack, rows, columns = slot.shape
    values = math.prod(stack) * _whole(rows, BLOCK) * _whole(columns, scheme.group)
    return round(values * scheme.bits_per_weight / 8)


def _whole(size: int, step: int) -> int:
    return -(-size // step) * step
