"""What the kernels keep another tool's codes in. Free of torch."""

from __future__ import annotations

from llmrt.quant.scheme import QuantScheme

# Of numbers that the kernels have no codes for: columns in any order, floats of 8 bits, indices of a table.
ROUNDED = QuantScheme(8, 32)
GROUPS = (64, 32)


def kept_scheme(bits: int, group: int, *, symmetric: bool) -> QuantScheme | None:
    """The scheme for codes of ``bits`` in groups of so many columns, 0 for all; None if there is none that holds them.

    2 and 3 bits less their zero are codes of 4 bits without one.
    """
    fitting = next((columns for columns in GROUPS if group % columns == 0), None)
    return None if fitting is None else QuantScheme(max(bits, 4), fitting, affine=bits >= 4 and not symmetric)
