"""From a checkpoint to a decoder whose matrices are as they were stored, in blocks of rows, one tensor at a time."""

from __future__ import annotations

from torch import Tensor

from llmrt.model.checkpoints.weight_bytes import block_dtypes
from llmrt.model.loading.read_tensors import WeightLoad
from llmrt.model.modules.block_weight import Blocks
from llmrt.ops.types import DTYPES


def load_in_blocks(load: WeightLoad) -> None:
    """Fill the decoder.

    Where products take fp32, matrices keep the type that they are stored in, which is exact; where they take bf16, they
    are rounded to it. Vectors and routers are fp32. Raises ``CheckpointError``.
    """
    decoder, slots = load.decoder, load.slots
    dtypes = block_dtypes(load.checkpoint, slots, decoder.spec.case.dtype)
    matrices: dict[str, Blocks] = {}
    others: dict[str, Tensor] = {}
    for name in load.names_in_file():
        slot, tensor = slots[name], load.read(name)
        if slot.role is None:
            load.place(others, name, tensor)
        else:
            if slot.parameter not in matrices:
                dense = decoder.get_submodule(slot.parameter.removesuffix(".weight"))
                matrices[slot.parameter] = Blocks(dense, DTYPES[dtypes[slot.parameter]])
            matrices[slot.parameter].put(slot.index, tensor)
        load.progress(tensor.numel())
    for parameter, blocks in matrices.items():
        load.pack(parameter.removesuffix(".weight"), [blocks.weight], others)
    decoder.load_state_dict(others, assign=True, strict=True)
