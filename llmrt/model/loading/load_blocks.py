"""From a checkpoint to a decoder whose matrices are as they were stored, in blocks of rows, one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from llmrt.model.checkpoints.checkpoint import Checkpoint
from llmrt.model.checkpoints.tensor_slots import Slot
from llmrt.model.checkpoints.weight_bytes import block_dtypes
from llmrt.model.loading.packed_pieces import install, packed_twin
from llmrt.model.loading.read_tensors import place, read_tensor
from llmrt.model.modules.block_weight import Blocks
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.types import DTYPES, OpSpec


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
    dtypes = block_dtypes(checkpoint, slots, spec.case.dtype)
    matrices: dict[str, Blocks] = {}
    others: dict[str, Tensor] = {}
    for name in checkpoint.inventory:  # in the order of the file
        if name not in slots:
            continue
        slot, tensor = slots[name], read_tensor(checkpoint, name, slots[name])
        if slot.role is None:
            place(others, decoder, slot, tensor)
        else:
            if slot.parameter not in matrices:
                dense = decoder.get_submodule(slot.parameter.removesuffix(".weight"))
                matrices[slot.parameter] = Blocks(dense, DTYPES[dtypes[slot.parameter]])
            matrices[slot.parameter].put(slot.index, tensor)
        progress(tensor.numel())
    for parameter, blocks in matrices.items():
        name = parameter.removesuffix(".weight")
        dense, bias = decoder.get_submodule(name), others.pop(f"{name}.bias", None)
        install(decoder, name, packed_twin(dense, [blocks.weight], bias, spec), spec)
    decoder.load_state_dict(others, assign=True, strict=True)
