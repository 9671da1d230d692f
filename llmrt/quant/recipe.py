"""Which scheme each kind of matrix gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmrt.quant.scheme import QuantScheme

EXPERT_ROLES = ("expert_gate", "expert_up", "expert_down")
ROLES = ("q", "k", "v", "attention_output", "gate", "up", "down", *EXPERT_ROLES, "embedding", "lm_head")


@dataclass(frozen=True)
class Recipe:
    """Schemes by role, see ``ROLES``; a role that is not there stays as it is."""

    name: str
    schemes: Mapping[str, QuantScheme]

    @property
    def group(self) -> int:
        """Values that share a scale, of weights and of the activations that they are multiplied with."""
        (group,) = {scheme.group for scheme in self.schemes.values()}
        return group

    def scheme(self, role: str) -> QuantScheme | None:
        """How matrices of ``role`` are quantized, None for not at all."""
        assert role in ROLES, role
        return self.schemes.get(role)


_INT4, _INT8 = QuantScheme(4, 64), QuantScheme(8, 64)
# Rounding values to 4 bits costs most by far of all matrices for their size; the table and the head are read by rows
# that have nothing to make up for errors.
_KEPT = ("v", "embedding", "lm_head")

RECIPES = {
    "int8": Recipe("int8", dict.fromkeys(ROLES, QuantScheme(8, 32))),
    "int4": Recipe("int4", {**dict.fromkeys(ROLES, _INT4), **dict.fromkeys(_KEPT, _INT8)}),
}
