"""How many bits a decoder's weights take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from llmrt.model.modules.block_weight import BlockWeight
from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.linear import DenseModule
from llmrt.model.modules.packed_linear import PackedModule
from llmrt.quant.packed_weight import PackedWeight


@dataclass(frozen=True)
class StoredBits:
    """Bits a weight, scales included: of the layers' matrices, of the head, and of all there is."""

    layers: float
    head: float
    overall: float


def stored_bits(decoder: Decoder) -> StoredBits:
    """Count them; an embedding table that is the head as well counts once overall."""
    layers = [w for name, w in _weights(decoder) if name.startswith("layers.") and _columns(w) > 1]
    head = [w for name, w in _weights(decoder) if name == "lm_head"]
    everything = {_address(w): w for _, w in _weights(decoder)}
    return StoredBits(_bits(layers), _bits(head), _bits(list(everything.values())))


def _weights(decoder: Decoder) -> Iterator[tuple[str, Tensor | PackedWeight | BlockWeight]]:
    for name, module in decoder.named_modules():
        if isinstance(module, PackedModule):
            yield from ((name, piece) for piece in module.pieces)
        elif isinstance(module, DenseModule):
            yield from ((name, tensor) for tensor in module.buffers(recurse=False))
        else:
            yield from ((name, tensor) for key, tensor in module.named_buffers(recurse=False) if key == "weight")


def _columns(weight: Tensor | PackedWeight | BlockWeight) -> int:
    return weight.shape[1] if len(weight.shape) > 1 else 1


def _address(weight: Tensor | PackedWeight | BlockWeight) -> int:
    return (weight if isinstance(weight, Tensor) else weight.data).data_ptr()


def _bits(weights: list[Tensor | PackedWeight | BlockWeight]) -> float:
    stored = sum(w.nbytes if isinstance(w, Tensor) else w.num_bytes for w in weights)
    return 8 * stored / sum(math.prod(w.shape) for w in weights)
