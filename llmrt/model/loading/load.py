"""From a checkpoint to a decoder, one tensor at a time.

Memory: the decoder, one tensor as it is stored, and that tensor converted. The decoder's weights are born without
storage; each gets it when its first piece arrives, straight in its final type and place.
"""

from __future__ import annotations

from torch import Tensor

from llmrt.model.checkpoints.checkpoint import Checkpoint
from llmrt.model.checkpoints.tensor_slots import tensor_slots
from llmrt.model.loading.load_blocks import load_in_blocks
from llmrt.model.loading.load_quantized import QuantizedLoad
from llmrt.model.loading.load_stored import load_as_stored
from llmrt.model.loading.read_tensors import Progress, WeightLoad, check_inventory, check_tied_head
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.types import OpSpec
from llmrt.quant.calibration import Calibration
from llmrt.quant.recipe import Recipe


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
    load = WeightLoad(Decoder(checkpoint.config, context_length, spec), checkpoint, slots, progress)
    if checkpoint.config.tied_embeddings:
        check_tied_head(checkpoint)
    if spec.in_blocks:
        load_in_blocks(load)
    elif recipe is not None:
        QuantizedLoad(load, recipe).run(calibration)
    elif spec.group:
        load_as_stored(load)
    else:
        _fill(load)
    return load.decoder


def _fill(load: WeightLoad) -> None:
    weights: dict[str, Tensor] = {}
    for name in load.names_in_file():
        tensor = load.read(name)
        load.place(weights, name, tensor)
        load.progress(tensor.numel())
    if load.decoder.config.tied_embeddings:
        weights["lm_head.weight"] = weights["embedding.weight"]
    load.decoder.load_state_dict(weights, assign=True, strict=True)
