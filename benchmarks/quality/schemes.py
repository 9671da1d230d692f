"""What is compared: llmrt's recipes under several calibrations, and the formats of llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from gguf.quants import quantize as gguf_quantize
from torch import Tensor

from llmrt.engine.loading.calibration_tokens import random_tokens, text_tokens
from llmrt.model.checkpoints.checkpoint import Checkpoint
from llmrt.model.checkpoints.tensor_slots import tensor_slots
from llmrt.model.config import ModelConfig
from llmrt.model.loading.load import load_decoder
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.types import OpSpec
from llmrt.quant.calibration import Calibration
from llmrt.quant.recipe import RECIPES, ROLES, Recipe
from llmrt.quant.scheme import QuantScheme

MATRICES = tuple(role for role in ROLES if role not in ("embedding", "lm_head"))
INT4, INT8 = RECIPES["int4"], RECIPES["int8"]
CONTEXT = 2048


@dataclass(frozen=True)
class Packed:
    """One of llmrt's own: run by its kernels as the engine does, with activations rounded to int8 and keys to fp16.

    ``tokens`` says where the calibration's tokens come from: none, random, or text.
    """

    recipe: Recipe
    tokens: str = "random"
    seed: int = 0

    kv_dtype = torch.float16

    def build(self, checkpoint: Checkpoint, text: Sequence[int]) -> Decoder:
        """The decoder, its weights quantized; ``text`` are the tokens to calibrate with."""
        spec = OpSpec("cpu", torch.float32, group=self.recipe.group)
        calibration = self._calibration(checkpoint.config, text)
        return load_decoder(checkpoint, CONTEXT, spec, recipe=self.recipe, calibration=calibration)

    def bits(self, shares: Mapping[str, float]) -> float:
        """Bits a weight of the decoder's matrices, of which ``shares`` says how they divide."""
        schemes = {role: self.recipe.scheme(role) for role in shares}
        return sum(share * schemes[role].bits_per_weight for role, share in shares.items() if schemes[role])

    def _calibration(self, config: ModelConfig, text: Sequence[int]) -> Calibration | None:
        if self.tokens == "none":
            return None
        return random_tokens(config, self.seed) if self.tokens == "random" else text_tokens(config, text)


@dataclass(frozen=True)
class Gguf:
    """A format of llama.cpp, by the gguf library's own rounding; activations stay fp32, the head is Q8_0."""

    kind: GGMLQuantizationType
    bits_per_weight: float

    kv_dtype = torch.float32

    def build(self, checkpoint: Checkpoint, text: Sequence[int]) -> Decoder:
        """The decoder, its weights quantized; ``text`` are the tokens to calibrate with."""
        del text
        return load_decoder(_Rounded(checkpoint, self.kind), CONTEXT, OpSpec("cpu", torch.float32))

    def bits(self, shares: Mapping[str, float]) -> float:
        """Bits a weight of the decoder's matrices, of which ``shares`` says how they divide."""
        return self.bits_per_weight * sum(shares.values())


class _Rounded:
    """``base`` with its matrices rounded to ``kind`` and back."""

    def __init__(self, base: Checkpoint, kind: GGMLQuantizationType) -> None:
        self.config, self.names, self.inventory = base.config, base.names, base.inventory
        self._base, self._kind = base, kind

    def load(self, name: str) -> Tensor:
        """One tensor, rounded if it is a matrix."""
        tensor = self._base.load(name)
        if tensor.dim() < 2:
            return tensor
        kind = GGMLQuantizationType.Q8_0 if name == f"{self.names.lm_head}.weight" else self._kind
        return torch.from_numpy(dequantize(gguf_quantize(tensor.numpy(), kind), kind)).view(tensor.shape)


def role_shares(checkpoint: Checkpoint) -> dict[str, float]:
    """How the decoder's matrices, embedding table and head apart, divide its weights."""
    counts: dict[str, int] = {}
    for slot in tensor_slots(checkpoint.config, checkpoint.names).values():
        if slot.role in MATRICES:
            counts[slot.role] = counts.get(slot.role, 0) + slot.shape[0] * slot.shape[1]
    total = sum(counts.values())
    return {role: count / total for role, count in counts.items()}


def _int4(*kept: str) -> Recipe:
    """All matrices at four bits but those that are ``kept`` at eight."""
    int8 = dict.fromkeys((*kept, "embedding", "lm_head"), QuantScheme(8, 64))
    return Recipe("int4", {**dict.fromkeys(ROLES, QuantScheme(4, 64)), **int8})


INT8_G64 = Recipe("int8", dict.fromkeys(ROLES, QuantScheme(8, 64)))


SCHEMES: dict[str, Packed | Gguf] = {
    "llama.cpp Q4_0": Gguf(GGMLQuantizationType.Q4_0, 4.5),
    "llama.cpp Q4_1": Gguf(GGMLQuantizationType.Q4_1, 5.0),
    "llama.cpp Q5_0": Gguf(GGMLQuantizationType.Q5_0, 5.5),
    "llama.cpp Q8_0": Gguf(GGMLQuantizationType.Q8_0, 8.5),
    "int4": Packed(INT4),
    "int4, other random tokens": Packed(INT4, seed=1),
    "int4, without feedback": Packed(INT4, "none"),
    "int4, values too": Packed(_int4()),
    "int4, but keys and values": Packed(_int4("k", "v")),
    "int4 --calibrate": Packed(INT4, "text"),
    "int8": Packed(INT8),
    "int8, without feedback": Packed(INT8, "none"),
    "int8 in groups of 64": Packed(INT8_G64),
}
