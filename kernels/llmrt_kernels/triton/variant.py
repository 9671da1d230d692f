"""One shipped form of a kernel: what it takes to compile it for a device that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmrt_kernels.triton.tiles import MOST_WITH_OFFSETS


@dataclass(frozen=True)
class Variant:
    """A kernel, the types of its arguments and the values of its constants.

    ``signature`` has the Triton type of each argument that is not a constexpr ("*bf16", "i32"); ``constants`` the
    constexprs, but ``ASM``, which the target gives; ``tuned`` has, by the names of targets, the fields that are others
    there. ``not_on`` says for a target's name why it is not shipped there.
    ``weights`` is, for a kernel with packed weights, how many of them a thread block unpacks in one turn of its inner
    loop; 0 for the others.
    """

    name: str
    kernel: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any]
    num_warps: int = 4
    num_stages: int = 2
    not_on: Mapping[str, str] = field(default_factory=dict[str, str])
    weights: int = 0
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    def on(self, target: str) -> Variant:
        """As it is shipped for the target of that name."""
        return replace(self, **self.tuned.get(target, {}))


def with_offsets(variant: Variant) -> Variant:
    """The form for weights with offsets; of two weights, where the first alone has some."""
    pointer = next(name for name in ("w_offsets_ptr", "w0_offsets_ptr") if name in variant.constants)
    constants = {name: value for name, value in variant.constants.items() if name != pointer}
    if "BM" in constants:
        constants["BM"] = min(constants["BM"], MOST_WITH_OFFSETS)
    signature = {**variant.signature, pointer: "*fp16"}
    return replace(variant, name=f"{variant.name}-offsets", signature=signature, constants=constants)
