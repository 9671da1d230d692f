"""From a checkpoint to a decoder whose matrices are as they were stored, in blocks of rows, one tensor at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from llmrt.model.block_weight import Blocks, BlockWeight
from llmrt.model.checkpoint import Checkpoint
from llmrt.model.decoder import Decoder
from llmrt.model.linear import GatedLinear
from llmrt.model.packed_linear import PackedEmbedding, PackedLinear
from llmrt.model.packed_pieces import gated_bias, twin_kind
from llmrt.model.stored_tensors import read_tensor
from llmrt.model.tensor_slots import Slot, tensor_slots
from llmrt.ops.types import OpSpec

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load_in_blocks(
    decoder: Decoder,
    checkpoint: Checkpoint,
    slots: dict[str, Slot],
    spec: OpSpec,
    progress: Callable[[int], None],
) -> None:
    """Fill ``decoder``, which is without storage.

    Where products take fp32, matrices keep the type that they are stored in, which is exact; where they take bf16, they
    are rounded to it. Vectors and routers are fp32. Raises ``CheckpointError``.
    """
    dtypes = _block_dtypes(checkpoint, slots, spec.dtype)
    matrices: dict[str, Blocks] = {}
    others: dict[str, Tensor] = {}
    for name in checkpoint.inventory:  # in the order of the file
        if name not in slots:
            continue
        slot, tensor = slots[name], read_tensor(checkpoint, name, slots[name])
        if slot.role is None:
            _place(others, decoder, slot, tensor)
        else:
            if slot.parameter not in matrices:
                matrices[slot.parameter] = Blocks(_dense(decoder, slot), dtypes[slot.parameter])
            matrices[slot.parameter].put(slot.index, tensor)
        progress(tensor.numel())
    for parameter, blocks in matrices.items():
        _install(decoder, parameter.removesuffix(".weight"), blocks.weight, others, spec)
    if checkpoint.config.tied_embeddings:
        decoder.set_submodule("lm_head", PackedLinear([matrices["embedding.weight"].weight], None, spec))
    decoder.load_state_dict(others, assign=True, strict=True)


def block_bytes(checkpoint: Checkpoint, dtype: torch.dtype) -> int:
    """Bytes that the weights will take where products take ``dtype``."""
    slots = tensor_slots(checkpoint.config, checkpoint.names)
    dtypes = _block_dtypes(checkpoint, slots, dtype)
    return sum(math.prod(slot.shape) * dtypes.get(slot.parameter, torch.float32).itemsize for slot in slots.values())


def _block_dtypes(checkpoint: Checkpoint, slots: dict[str, Slot], dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The type of each matrix whose tensors are there: pieces that are stored in several types get one for all."""
    found: dict[str, torch.dtype] = {}
    for name, stored in checkpoint.inventory.items():
        if name in slots and slots[name].role is not None:
            parameter, kept = slots[name].parameter, DTYPES[stored.dtype] if dtype == torch.float32 else dtype
            found[parameter] = torch.promote_types(found.get(parameter, kept), kept)
    return found


def _dense(decoder: Decoder, slot: Slot) -> nn.Module:
    return decoder.get_submodule(slot.parameter.removesuffix(".weight"))


def _place(others: dict[str, Tensor], decoder: Decoder, slot: Slot, tensor: Tensor) -> None:
    if slot.parameter not in others:
        others[slot.parameter] = torch.empty(decoder.get_buffer(slot.parameter).shape)
    others[slot.parameter][slot.index].copy_(tensor)


def _install(decoder: Decoder, name: str, weight: BlockWeight, others: dict[str, Tensor], spec: OpSpec) -> None:
    dense, bias = decoder.get_submodule(name), others.pop(f"{name}.bias", None)
    if name == "embedding":
        decoder.set_submodule(name, PackedEmbedding(weight, spec))
        return
    if bias is not None and isinstance(dense, GatedLinear):
        bias = gated_bias(bias, weight.group)
    decoder.set_submodule(name, twin_kind(dense)([weight], bias, spec))
