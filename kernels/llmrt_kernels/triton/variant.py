"""One shipped form of a kernel: what it takes to compile it for a device that is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmrt_kernels.triton.target import TARGETS, Target
from llmrt_kernels.triton.tiles import Tile


@dataclass(frozen=True)
class Variant:
    """A kernel, the types of its arguments and the values of its constants.

    ``signature`` has the Triton type of each argument that is not a constexpr ("*bf16", "i32"); ``constants`` the
    constexprs, but ``ASM`` and ``OVERLAP``, which the target gives, and those that are None; ``tuned`` has, by the
    names of targets, the fields that are others there.
    ``weights`` is, for a kernel with packed weights of one width, how many of them a thread block unpacks in one turn
    of its inner loop; 0 for the others.
    """

    name: str
    kernel: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any]
    num_warps: int = 4
    num_stages: int = 2
    weights: int = 0
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    def on(self, target: str) -> Variant:
        """As it is shipped for the target of that name."""
        return replace(self, **self.tuned.get(target, {}))


def with_tiles(variant: Variant, tile_on: Callable[[Target], Tile]) -> Variant:
    """The form whose tile is, on each target, the one that launches have there."""

    def fields(tile: Tile) -> dict[str, Any]:
        cut = {"BM": tile.tokens, "BN": tile.rows, "SWAP": tile.swap, "STAGES": tile.stages}
        taken = {name: value for name, value in cut.items() if name in variant.kernel.arg_names}
        return {"constants": {**variant.constants, **taken}, "num_warps": tile.warps}

    tuned = {target.name: fields(tile_on(target)) for target in TARGETS}
    return replace(variant, **tuned["sm_80"], tuned=tuned)
