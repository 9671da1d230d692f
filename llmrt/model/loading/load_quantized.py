"""From a checkpoint to a decoder of packed weights, one layer at a time.

A layer's matrices are read as they are stored and the calibration tokens pass through it in full precision; then each
matrix is rounded for the inputs that they gave it, and packed, and what was read is let go. Memory: what is packed so
far, one layer as it is stored, and a few strips in fp32. What a matrix is rounded for is found on the CPU. It is
rounded and packed where it will be used if a GPU's kernel does that, to the same bytes, so what is packed serves every
device.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from llmrt.model.checkpoints.tensor_slots import Slot
from llmrt.model.loading.calibration_stream import CalibrationStream
from llmrt.model.loading.packed_pieces import arranged
from llmrt.model.loading.read_tensors import BESIDE_PACKED, WeightLoad
from llmrt.model.loading.torch_threads import torch_threads
from llmrt.model.modules.decoder import DecoderLayer
from llmrt.ops.registry import choose
from llmrt.ops.table import QUANTIZE
from llmrt.ops.types import OpSpec
from llmrt.quant.calibration import Calibration
from llmrt.quant.feedback import Feedback
from llmrt.quant.packed_weight import PackedWeight
from llmrt.quant.quantize import quantize
from llmrt.quant.recipe import Recipe
from llmrt.quant.scheme import QuantScheme

FULL_PRECISION = OpSpec("cpu", torch.float32)


class QuantizedLoad:
    """Fills the decoder of ``load``."""

    def __init__(self, load: WeightLoad, recipe: Recipe) -> None:
        self._load, self._recipe = load, recipe
        self._decoder, self._spec = load.decoder, load.decoder.spec

    def run(self, calibration: Calibration | None) -> None:
        """Read, watch the tokens of ``calibration`` if there are any, and pack. Raises ``CheckpointError``."""
        tied = self._decoder.config.tied_embeddings
        with torch_threads():
            first = {name: self._read(name) for name in ("embedding", "positions", "embedding_norm")}
            stream = None
            if calibration is not None:
                stream = CalibrationStream(calibration, self._decoder.config, dict(ChainMap(*first.values())))
            for name, tensors in first.items():
                if tensors:
                    self._install(name, tensors, {})
            for i in range(self._decoder.config.num_layers):
                name = f"layers.{i}"
                tensors = self._read(name)
                self._install(name, tensors, self._feedback(name, tensors, stream) if stream else {})
            for name in ("norm",) if tied else ("norm", "lm_head"):
                self._install(name, self._read(name), {})

    def _feedback(self, name: str, tensors: dict[str, Tensor], stream: CalibrationStream) -> dict[str, Feedback]:
        """Let the tokens pass through a layer of ``tensors``: what to heed, by the parameters that are quantized.

        torch adds up in another order on more threads, and the same model shall be quantized to the same codes.
        """
        config = self._decoder.config
        layer = DecoderLayer(config, int(name.removeprefix("layers.")), FULL_PRECISION)
        layer.load_state_dict(_within(name, tensors), assign=True, strict=True)
        modules = {_module(parameter).removeprefix(f"{name}."): parameter for parameter in self._plan(name)}
        with torch_threads(1):
            found = stream.pass_through(layer, modules, f"{self._file_of(name)}: {name}")
        return {modules[module]: feedback for module, feedback in found.items()}

    def _file_of(self, module: str) -> Path:
        """Where its first tensor is."""
        slots, inventory = self._load.slots.items(), self._load.checkpoint.inventory
        return next(inventory[name].file for name, slot in slots if slot.parameter.startswith(f"{module}."))

    def _read(self, module: str) -> dict[str, Tensor]:
        """The parameters of ``module``: matrices in the type that they are stored in."""
        tensors: dict[str, Tensor] = {}
        for name, slot in self._load.slots.items():
            if not slot.parameter.startswith(f"{module}."):
                continue
            tensor, held = self._load.read(name), tensors.get(slot.parameter)
            dtype = tensor.dtype if tensor.dim() > 1 else BESIDE_PACKED
            shape = self._decoder.get_buffer(slot.parameter).shape
            if tensor.shape == shape:
                tensors[slot.parameter] = tensor.to(dtype)
                continue
            if held is None:
                held = torch.empty(shape, dtype=dtype)
            tensors[slot.parameter] = held.to(torch.promote_types(held.dtype, dtype))
            tensors[slot.parameter][slot.index].copy_(tensor)
        return tensors

    def _install(self, module: str, tensors: dict[str, Tensor], feedback: dict[str, Feedback]) -> None:
        """Put the parameters of ``module`` in place, packed where the recipe says so; ``tensors`` is used up."""
        for parameter, pieces in self._plan(module).items():
            name, weight = _module(parameter), tensors.pop(parameter)
            packed = [self._quantized(weight[slot.index], scheme, feedback.get(parameter)) for slot, scheme in pieces]
            self._load.pack(name, arranged(self._decoder.get_submodule(name), packed), tensors)
        rest = {name: tensor.to(self._spec.device, BESIDE_PACKED) for name, tensor in _within(module, tensors).items()}
        self._decoder.get_submodule(module).load_state_dict(rest, assign=True, strict=True)
        self._load.progress(sum(tensor.numel() for tensor in rest.values()))

    def _quantized(self, weight: Tensor, scheme: QuantScheme, feedback: Feedback | None) -> PackedWeight:
        packed = quantize(weight, scheme, _quantizer(self._spec), feedback)
        self._load.progress(weight.numel())
        return packed

    def _plan(self, module: str) -> dict[str, list[tuple[Slot, QuantScheme]]]:
        """The parameters of ``module`` that are quantized, each in pieces from its first rows to its last."""
        plan: dict[str, list[tuple[Slot, QuantScheme]]] = {}
        for slot in self._load.slots.values():
            scheme = self._recipe.scheme(slot.role) if slot.role else None
            if scheme is not None and slot.parameter.startswith(f"{module}."):
                plan.setdefault(slot.parameter, []).append((slot, scheme))
        return plan


def _quantizer(spec: OpSpec) -> OpSpec:
    """Where weights are quantized: where they will be used if there is a kernel for it, else on the CPU."""
    there = replace(spec, dtype=torch.float32)
    return there if choose(QUANTIZE, there).backend == "triton" else replace(there, device="cpu")


def _within(module: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same by the names that they have inside ``module``."""
    return {name.removeprefix(f"{module}."): tensor for name, tensor in tensors.items()}


def _module(parameter: str) -> str:
    return parameter.removesuffix(".weight")
