"""How the matrices of a checkpoint that is quantized already are kept. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llmrt.model.checkpoints.tensor_slots import Slot
from llmrt.model.stored_tensor import StoredTensor
from llmrt.quant.recipe import EXPERT_ROLES
from llmrt.quant.scheme import QuantScheme

# Of matrices that are not in codes, beside others that are: kernels take all of a model as codes, or none.
ROUNDED_BITS = 8
FORM_DEVICES = ("cpu",)  # whose kernels take GGUF's own forms
_ALIKE = ("gate", "up", *EXPERT_ROLES)


def stored_group(inventory: Mapping[str, StoredTensor]) -> int:
    """Columns that share a scale if the checkpoint has codes, the fewest of any; else 0."""
    return min((stored.scheme.group for stored in inventory.values() if stored.scheme), default=0)


def kept_schemes(
    inventory: Mapping[str, StoredTensor], slots: Mapping[str, Slot], device: str
) -> dict[str, QuantScheme]:
    """The scheme of each matrix of a checkpoint with codes, by its name.

    It is the stored one, what stands for its form where ``device`` has no kernels for that, or int8 where there is
    none. Matrices that are interleaved or stacked get one that holds them all.
    """
    group = stored_group(inventory)
    there = [name for name, slot in slots.items() if slot.role and name in inventory]
    schemes = {name: inventory[name].scheme or QuantScheme(ROUNDED_BITS, group) for name in there}
    if device not in FORM_DEVICES:
        schemes = {name: scheme.flat for name, scheme in schemes.items()}
    together: dict[str, list[QuantScheme]] = {}
    for name, scheme in schemes.items():
        together.setdefault(_with(name, slots[name]), []).append(scheme)
    return {name: _widest(together[_with(name, slots[name])], group) for name in schemes}


def _with(name: str, slot: Slot) -> str:
    return slot.parameter if slot.role in _ALIKE else name


def _widest(schemes: Iterable[QuantScheme], group: int) -> QuantScheme:
    first, *others = {*schemes}
    if not others and first.form:
        return first
    found = [scheme.flat for scheme in (first, *others)]
    return QuantScheme(max(scheme.bits for scheme in found), group, any(scheme.affine for scheme in found))
