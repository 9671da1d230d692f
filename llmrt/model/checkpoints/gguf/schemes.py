"""What the kernels keep a GGUF type's codes in. Free of torch."""

from __future__ import annotations

from gguf import GGMLQuantizationType as Kind

from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.layout import FORMS

# Columns that share a scale. Types have as many, or 16.
GROUP = 32

_INT4, _INT8 = QuantScheme(4, GROUP), QuantScheme(8, GROUP)
_INT4_AFFINE = QuantScheme(4, GROUP, affine=True)

# Of types whose codes are taken over. Of others the numbers are rounded.
SCHEMES = {
    Kind.Q4_0: _INT4,
    Kind.Q4_1: _INT4_AFFINE,
    Kind.Q8_0: _INT8,
    **{Kind[name.upper()]: QuantScheme.of_form(name, GROUP) for name in FORMS},
}
# Numbers that stand for themselves.
FLOATS = (Kind.F32, Kind.F16, Kind.BF16)


def scheme_of(kind: Kind) -> QuantScheme | None:
    """The scheme that matrices of ``kind`` are kept in, None for floats."""
    return None if kind in FLOATS else SCHEMES.get(kind, _INT8)
