"""From a checkpoint to a decoder, one tensor at a time.

Memory: the decoder, one tensor as it is stored, and that tensor converted. The decoder's weights are born without
storage; each gets it when its first piece arrives, straight in its final type and place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.checkpoint import Checkpoint
from llmrt.model.decoder import Decoder
from llmrt.model.packed_pieces import PackedPieces
from llmrt.model.tensor_slots import Slot, tensor_slots
from llmrt.ops.types import OpSpec
from llmrt.quant.quantize import quantize
from llmrt.quant.recipe import Recipe

# Tables that old checkpoints carry although they follow from the configuration.
DERIVED = (".rotary_emb.inv_freq",)

Progress = Callable[[int], None]


def _ignore(num_values: int) -> None:
    del num_values


def load_decoder(
    checkpoint: Checkpoint,
    context_length: int,
    spec: OpSpec,
    progress: Progress = _ignore,
    recipe: Recipe | None = None,
) -> Decoder:
    """Build the decoder and fill it, its matrices quantized by ``recipe`` if there is one.

    ``progress`` is told the numbers of each tensor as it is done. Raises ``CheckpointError`` that names file and
    tensor for what is missing, left over, misshapen or not finite.
    """
    slots = tensor_slots(checkpoint.config, checkpoint.names)
    check_inventory(checkpoint, slots)
    decoder = Decoder(checkpoint.config, context_length, spec)
    dense: dict[str, Tensor] = {}
    packed = PackedPieces()
    for name in checkpoint.inventory:
        if name not in slots:
            continue
        slot, tensor = slots[name], checkpoint.load(name)
        check_finite(checkpoint, name, tensor)
        if slot.interleaved_heads:
            tensor = half_split(tensor, slot.interleaved_heads)
        scheme = recipe.scheme(slot.role) if recipe and slot.role else None
        if scheme is not None:
            packed.add(slot, quantize(tensor, scheme, spec))
        else:
            _place(dense, decoder, slot, tensor, spec)
        progress(tensor.numel())
    if checkpoint.config.tied_embeddings:
        _check_tied_head(checkpoint)
        packed.tie("embedding.weight", "lm_head.weight")
        if "embedding.weight" in dense:
            dense["lm_head.weight"] = dense["embedding.weight"]
    packed.replace_modules(decoder, dense, spec)
    decoder.load_state_dict(dense, assign=True, strict=True)
    decoder.cos_sin = decoder.cos_sin.to(spec.device)
    return decoder


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


def _check_tied_head(checkpoint: Checkpoint) -> None:
    """A head that is stored although the configuration ties it must be the embedding table, or one of both is wrong."""
    head, table = f"{checkpoint.names.lm_head}.weight", f"{checkpoint.names.embedding}.weight"
    if head in checkpoint.inventory and not torch.equal(checkpoint.load(head), checkpoint.load(table)):
        raise CheckpointError(
            f"{checkpoint.inventory[head].file}: {head} differs from {table}, but config.json sets tie_word_embeddings."
        )


def _place(weights: dict[str, Tensor], decoder: Decoder, slot: Slot, tensor: Tensor, spec: OpSpec) -> None:
    if slot.parameter not in weights:
        shape = decoder.get_buffer(slot.parameter).shape
        weights[slot.parameter] = torch.empty(shape, dtype=spec.dtype, device=spec.device)
    weights[slot.parameter][slot.index].copy_(tensor)


def half_split(tensor: Tensor, num_heads: int) -> Tensor:
    """Reorder rows from neighbouring pairs (x0 y0 x1 y1 ..) to halves (x0 x1 .. y0 y1 ..) within each head."""
    pairs = tensor.unflatten(0, (num_heads, -1, 2))
    return pairs.transpose(1, 2).flatten(0, 2)
