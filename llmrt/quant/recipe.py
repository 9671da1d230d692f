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


_INT8 = QuantScheme(8, 64)
_INT4 = QuantScheme(4, 64)

RECIPES = {
    "int8": Recipe("int8", dict.fromkeys(ROLES, _INT8)),
    "int4": Recipe("int4", {**dict.fromkeys(ROLES, _INT4), **dict.fromkeys(("k", "v", "embedding", "lm_head"), _INT8)}),
}
