"""A checkpoint's tensors on their way into a decoder, with everything checked that a file can get wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.checkpoint import Checkpoint
from llmrt.model.checkpoints.fused import stored_name
from llmrt.model.checkpoints.tensor_slots import HeadOrder, Slot
from llmrt.model.loading.packed_pieces import gated_bias, install
from llmrt.model.modules.block_weight import BlockWeight
from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.linear import GatedLinear
from llmrt.quant.packed_weight import PackedWeight

# Tables and masks that old checkpoints carry although they follow from the configuration, and what some tool would
# divide keys and values by before it rounds them.
DERIVED = (
    *(".rotary_emb.inv_freq", ".k_scale", ".v_scale"),
    *(f".{a}.{b}" for a in ("attn", "attention") for b in ("bias", "masked_bias")),
)
BESIDE_PACKED = torch.float32  # whatever the activations are in, so that a copy of the weights serves every device

Progress = Callable[[int], None]


@dataclass(frozen=True)
class WeightLoad:
    """A ``decoder`` without storage, and the ``checkpoint`` whose tensors go into ``slots`` of it.

    ``progress`` is told the numbers of each tensor as it is done.
    """

    decoder: Decoder
    checkpoint: Checkpoint
    slots: dict[str, Slot]
    progress: Progress

    def names_in_file(self) -> Iterator[str]:
        """The names in ``slots``, in the order of the file."""
        return (name for name in self.checkpoint.inventory if name in self.slots)

    def read(self, name: str) -> Tensor:
        """The tensor, in the order of rows that the decoder has. Raises ``CheckpointError`` if it is not finite."""
        slot, tensor = self.slots[name], self.checkpoint.load(name)
        self.check_finite(name, tensor)
        if slot.heads is not None:
            tensor = reordered(tensor, slot.heads)
        return tensor.float() + slot.offset if slot.offset else tensor

    def check_finite(self, name: str, tensor: Tensor) -> None:
        """Raise ``CheckpointError`` if ``tensor``, which belongs to ``name``, holds NaN or infinity."""
        if not is_finite(tensor):
            raise CheckpointError(f"{self.checkpoint.inventory[name].file}: tensor {name} holds NaN or infinity.")

    def place(self, weights: dict[str, Tensor], name: str, tensor: Tensor) -> None:
        """Put ``tensor`` into its parameter among ``weights``, which gets storage when its first piece comes."""
        slot, spec = self.slots[name], self.decoder.spec
        if slot.parameter not in weights:
            dtype = BESIDE_PACKED if spec.packed else spec.dtype
            shape = self.decoder.get_buffer(slot.parameter).shape
            weights[slot.parameter] = torch.empty(shape, dtype=dtype, device=spec.device)
        weights[slot.parameter][slot.index].copy_(tensor)

    def pack(self, module: str, pieces: Sequence[PackedWeight | BlockWeight], weights: dict[str, Tensor]) -> None:
        """Put the packed twin of ``module`` in its place; ``pieces`` are ``arranged``, ``weights`` have its bias."""
        bias = weights.pop(f"{module}.bias", None)
        if bias is not None and isinstance(self.decoder.get_submodule(module), GatedLinear):
            bias = gated_bias(bias, pieces[0].group)
        install(self.decoder, module, pieces, bias)


def check_inventory(checkpoint: Checkpoint, slots: dict[str, Slot]) -> None:
    """Compare what the files hold with what the configuration asks for, before anything is read."""
    somewhere = next((stored.file for stored in checkpoint.inventory.values()), None)
    for name, slot in slots.items():
        stored = checkpoint.inventory.get(name)
        if stored is None:
            folder = somewhere.parent if somewhere else "the checkpoint"
            raise CheckpointError(f"{folder}: the tensor {stored_name(name)} is missing.")
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


def is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are."""
    low, high = torch.aminmax(tensor)  # NaN spreads to both
    return math.isfinite(low.item()) and math.isfinite(high.item())


def check_tied_head(checkpoint: Checkpoint) -> None:
    """A head that is stored although the configuration ties it must be the embedding table, or one of both is wrong."""
    head, table = f"{checkpoint.names.lm_head}.weight", f"{checkpoint.names.embedding}.weight"
    if head in checkpoint.inventory and not torch.equal(checkpoint.load(head), checkpoint.load(table)):
        raise CheckpointError(
            f"{checkpoint.inventory[head].file}: {head} differs from {table}, but config.json sets tie_word_embeddings."
        )


def reordered(tensor: Tensor, order: HeadOrder) -> Tensor:
    """The rows of each head in the decoder's order. tensor [heads D, ..], or [heads, D]."""
    if len(tensor) == order.num_heads:
        return reordered(tensor.flatten(), order).view(tensor.shape)
    heads = tensor.unflatten(0, (order.num_heads, -1))
    rotary, size = order.rotary_dim, heads.shape[1]
    rotated = torch.arange(rotary)
    rotated = rotated.view(-1, 2).T if order.interleaved else rotated.view(2, -1)
    still = torch.arange(rotary, size).view(2, -1)
    return heads[:, torch.cat((rotated, still), dim=1).flatten()].flatten(0, 1)
