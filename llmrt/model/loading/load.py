"""From a checkpoint to a decoder, one tensor at a time.

Memory: the decoder, one tensor as it is stored, and that tensor converted. The decoder's weights are born without
storage; each gets it when its first piece arrives, straight in its final type and place.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from llmrt.model.checkpoints.checkpoint import Checkpoint
from llmrt.model.checkpoints.tensor_slots import Slot, tensor_slots
from llmrt.model.loading.load_blocks import load_in_blocks
from llmrt.model.loading.load_quantized import QuantizedLoad
from llmrt.model.loading.load_stored import load_as_stored
from llmrt.model.loading.read_tensors import check_inventory, check_tied_head, place, read_tensor
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.types import OpSpec
from llmrt.quant.calibration import Calibration
from llmrt.quant.recipe import Recipe

Progress = Callable[[int], None]


def load_decoder(
    checkpoint: Checkpoint,
    context_length: int,
    spec: OpSpec,
    progress: Progress = lambda _: None,
    recipe: Recipe | None = None,
    calibration: Calibration | None = None,
) -> Decoder:
    """Build the decoder and fill it, its matrices quantized by ``recipe`` if there is one.

    Without one, and a spec of packed weights, they stay as the checkpoint has them quantized.
    With ``calibration`` they are rounded for the inputs that its tokens give them, else each value for itself.
    ``progress`` is told the numbers of each tensor as it is done. Raises ``CheckpointError`` that names file and
    tensor for what is missing, left over, misshapen or not finite.
    """
    slots = tensor_slots(checkpoint.config, checkpoint.names)
    check_inventory(checkpoint, slots)
    decoder = Decoder(checkpoint.config, context_length, spec)
    if checkpoint.config.tied_embeddings:
        check_tied_head(checkpoint)
    if spec.in_blocks:
        load_in_blocks(decoder, checkpoint, slots, spec, progress)
    elif recipe is not None:
        QuantizedLoad(decoder, checkpoint, slots, spec, recipe, progress).run(calibration)
    elif spec.group:
        load_as_stored(decoder, checkpoint, slots, spec, progress)
    else:
        _fill(decoder, checkpoint, slots, spec, progress)
    decoder.rotations.place(spec.device)
    return decoder


def _fill(decoder: Decoder, checkpoint: Checkpoint, slots: dict[str, Slot], spec: OpSpec, progress: Progress) -> None:
    weights: dict[str, Tensor] = {}
    for name in checkpoint.inventory:  # in the order of the file
        if name in slots:
            tensor = read_tensor(checkpoint, name, slots[name])
            place(weights, decoder, slots[name], tensor, spec.dtype, spec.device)
            progress(tensor.numel())
    if checkpoint.config.tied_embeddings:
        weights["lm_head.weight"] = weights["embedding.weight"]
    decoder.load_state_dict(weights, assign=True, strict=True)
