"""From an adapter's matrices to the decoder's products, which may be several of the model's modules in one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.adapters.peft_adapter import ModuleDelta, PeftAdapter
from llmrt.model.checkpoints.fused import with_parts
from llmrt.model.checkpoints.parts import part_of
from llmrt.model.checkpoints.tensor_slots import Slot, tensor_slots
from llmrt.model.config import ModelConfig
from llmrt.model.families.registry import FAMILIES
from llmrt.model.loading.read_tensors import reordered
from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.lora import Lora
from llmrt.model.stored_tensor import StoredTensor
from llmrt_kernels.low_rank import LowRank

_ADAPTED = ("q", "k", "v", "attention_output", "gate", "up", "down")


def install_adapter(decoder: Decoder, number: int, adapter: PeftAdapter) -> None:
    """Have ``decoder`` add what ``adapter`` says to tokens of that ``number``: all of it, or nothing is changed.

    Raises ``CheckpointError`` for an adapter that was made for another model.
    """
    places = _Places(decoder.config, adapter)
    pieces: dict[Lora, list[LowRank]] = {}
    for module in adapter.modules:
        delta = adapter.delta(module)
        for slot, b in places.of(delta):
            lora = _lora_of(decoder, slot)
            pieces.setdefault(lora, []).append(lora.low_rank(delta.a, b, _first_row(slot)))
    for lora, found in pieces.items():
        lora.put(number, found)


@dataclass
class _Places:
    """Where modules' outputs are among the decoder's, by the names of published safetensors."""

    config: ModelConfig
    adapter: PeftAdapter

    def __post_init__(self) -> None:
        self._names = FAMILIES[self.config.family].names
        self._slots = tensor_slots(self.config, self._names)

    def of(self, delta: ModuleDelta) -> Iterator[tuple[Slot, Tensor]]:
        """Each slot that the module fills, with its rows of b, in the order of the decoder."""
        for slot, b in self._parts(delta):
            if slot.role not in _ADAPTED:
                raise self.refusal(delta.module, "is not q, k, v, o, gate, up or down of a dense layer")
            yield slot, b if slot.heads is None else reordered(b, slot.heads)

    def refusal(self, module: str, reason: str) -> CheckpointError:
        return CheckpointError(f"{self.adapter.file}: the adapted module {module} {reason}.")

    def _parts(self, delta: ModuleDelta) -> Iterator[tuple[Slot, Tensor]]:
        name, shape = f"{delta.module}.weight", (len(delta.b), delta.a.shape[1])
        if name in self._slots:
            slot = self._slots[name]
            if slot.shape != shape:
                raise self._misfit(delta, slot.shape)
            yield slot, delta.b
            return
        transposed = self._names.transposed
        stored = StoredTensor(shape[::-1] if transposed else shape, self.adapter.file)
        parts = with_parts({name: stored}, self.config, self._names)
        for part_name, held in parts.items():
            if held.part is None:
                raise self.refusal(delta.module, f"is not in this model, a {self.config.family}")
            yield self._slots[part_name], part_of(delta.b, held.part._replace(transposed=False))

    def _misfit(self, delta: ModuleDelta, shape: tuple[int, ...]) -> CheckpointError:
        made_for = f"is made for {list((len(delta.b), delta.a.shape[1]))}; this model has {list(shape)} there"
        return self.refusal(delta.module, made_for)


def _lora_of(decoder: Decoder, slot: Slot) -> Lora:
    lora = decoder.get_submodule(f"{slot.parameter.removesuffix('.weight')}_lora")
    assert isinstance(lora, Lora)
    return lora


def _first_row(slot: Slot) -> int:
    rows = slot.index[-1]
    assert isinstance(rows, slice)
    return rows.start or 0
