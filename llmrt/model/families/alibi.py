"""ALiBi (https://arxiv.org/abs/2108.12409): far keys count less, by each head's own slope."""

from __future__ import annotations


def alibi_slopes(num_heads: int, max_bias: float = 8.0, factor: float = 1.0) -> tuple[float, ...]:
    """Powers of 2 down to 2 ** -max_bias, each multiplied by ``factor``.

    Where the number of heads is no power of 2, those of the next lower one come first, and then every second of those
    that twice as many heads would have.
    """
    whole = 1 << (num_heads.bit_length() - 1)
    first = [max_bias * i / whole for i in range(1, whole + 1)]
    between = [max_bias * i / (2 * whole) for i in range(1, 2 * whole, 2)]
    return tuple(factor * 2**-exponent for exponent in [*first, *between][:num_heads])
