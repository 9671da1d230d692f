"""Reading a checkpoint's tensors, with everything checked that a file can get wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.checkpoint import Checkpoint
from llmrt.model.tensor_slots import Slot

# Tables that old checkpoints carry although they follow from the configuration.
DERIVED = (".rotary_emb.inv_freq",)


def read_tensor(checkpoint: Checkpoint, name: str, slot: Slot) -> Tensor:
    """The tensor, in the order of rows that the decoder has. Raises ``CheckpointError`` if it is not finite."""
    tensor = checkpoint.load(name)
    check_finite(checkpoint, name, tensor)
    return half_split(tensor, slot.interleaved_heads) if slot.interleaved_heads else tensor


def check_inventory(checkpoint: Checkpoint, slots: dict[str, Slot]) -> None:
    """Compare what the files hold with what the configuration asks for, before anything is read."""
    somewhere = next((stored.file for stored in checkpoint.inventory.values()), None)
    for name, slot in slots.items():
        stored = checkpoint.inventory.get(name)
        if stored is None:
            folder = somewhere.parent if somewhere else "the checkpoint"
            raise CheckpointError(f"{folder}: the tensor {name} is missing.")
        if stored.shape != slot.shape:
            raise CheckpointError(
                f"{stored.file}: tensor {name} has shape {list(stored.shape)};"
                f" the configuration asks for {list(slot.shape)}."
            )
    extra = list(_left_over(checkpoint, slots))
    if extra:
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise CheckpointError(
            f"{checkpoint.inventory[extra[0]].file}: tensor {extra[0]}{more} has no place in a"
            f" {checkpoint.config.family} model of this configuration."
        )


def _left_over(checkpoint: Checkpoint, slots: dict[str, Slot]) -> Iterator[str]:
    head = f"{checkpoint.names.lm_head}.weight"
    for name in checkpoint.inventory:
        if name not in slots and not name.endswith(DERIVED) and name != head:
            yield name


def check_finite(checkpoint: Checkpoint, name: str, tensor: Tensor) -> None:
    """Raise ``CheckpointError`` if the tensor holds NaN or infinity."""
    low, high = torch.aminmax(tensor)  # NaN spreads to both
    if not (math.isfinite(low.item()) and math.isfinite(high.item())):
        raise CheckpointError(f"{checkpoint.inventory[name].file}: tensor {name} holds NaN or infinity.")


def check_tied_head(checkpoint: Checkpoint) -> None:
    """A head that is stored although the configuration ties it must be the embedding table, or one of both is wrong."""
    head, table = f"{checkpoint.names.lm_head}.weight", f"{checkpoint.names.embedding}.weight"
    if head in checkpoint.inventory and not torch.equal(checkpoint.load(head), checkpoint.load(table)):
        raise CheckpointError(
            f"{checkpoint.inventory[head].file}: {head} differs from {table}, but config.json sets tie_word_embeddings."
        )


def half_split(tensor: Tensor, num_heads: int) -> Tensor:
    """Reorder rows from neighbouring pairs (x0 y0 x1 y1 ..) to halves (x0 x1 .. y0 y1 ..) within each head."""
    pairs = tensor.unflatten(0, (num_heads, -1, 2))
    return pairs.transpose(1, 2).flatten(0, 2)
