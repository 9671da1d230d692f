"""What the kernels keep a GGUF type's codes in. Free of torch."""

from __future__ import annotations

from gguf import GGMLQuantizationType as Kind

from llmrt.quant.scheme import QuantScheme

# Columns that share a scale. Types have as many, or 16.
GROUP = 32

_INT4, _INT8 = QuantScheme(4, GROUP), QuantScheme(8, GROUP)
_INT4_AFFINE, _INT8_AFFINE = QuantScheme(4, GROUP, affine=True), QuantScheme(8, GROUP, affine=True)

# Nearer to the file's bits than int4 with offsets and int8, which stand for them where there are no such kernels.
_Q4_K, _Q6_K = QuantScheme(4, GROUP, affine=True, nested=True), QuantScheme(6, GROUP, nested=True)

# Of types whose codes are taken over. Of others the numbers are rounded.
SCHEMES = {
    Kind.Q4_0: _INT4,
    Kind.Q4_1: _INT4_AFFINE,
    Kind.Q5_0: _INT8,
    Kind.Q5_1: _INT8_AFFINE,
    Kind.Q8_0: _INT8,
    Kind.Q3_K: _INT8,
    Kind.Q4_K: _Q4_K,
    Kind.Q5_K: _INT8_AFFINE,
    Kind.Q6_K: _Q6_K,
    Kind.IQ4_NL: _INT8,
    Kind.IQ4_XS: _INT8,
}
# Numbers that stand for themselves.
FLOATS = (Kind.F32, Kind.F16, Kind.BF16)


def scheme_of(kind: Kind) -> QuantScheme | None:
    """The scheme that matrices of ``kind`` are kept in, None for floats."""
    return None if kind in FLOATS else SCHEMES.get(kind, _INT8)
