"""How quantized weights are kept, in words. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable

from llmrt.model.quantized.kept_headers import ROUNDED
from llmrt.model.quantized.matrix import Layout
from llmrt.quant.scheme import QuantScheme


def described(layouts: Iterable[Layout]) -> str:
    """What a checkpoint has and what the kernels keep of it, for each layout that differs."""
    return "; ".join(dict.fromkeys(_described(layout) for layout in layouts))


def rounding_notice(layouts: Iterable[Layout]) -> str | None:
    """What to say of matrices that are not kept as they are, None if there are none."""
    rounded = dict.fromkeys(layout.label for layout in layouts if layout.scheme is None)
    if not rounded:
        return None
    return (
        f"The weights are {'; '.join(rounded)}, which the kernels have no codes for, so they are rounded to"
        f" {_in_words(ROUNDED)}; --quant none computes with their exact numbers."
    )


def _described(layout: Layout) -> str:
    if layout.scheme is None:
        return f"{layout.label}, rounded to {_in_words(ROUNDED)}"
    return f"{layout.label}, kept as {_in_words(layout.scheme)}"


def _in_words(scheme: QuantScheme) -> str:
    offsets = " with offsets" if scheme.affine else ""
    return f"int{scheme.bits}{offsets} in groups of {scheme.group}, {scheme.bits_per_weight:g} bits a weight"
