"""Integers of launches. Triton's functions of these names serve kernels as well, and take 2 us of the host a time."""

from __future__ import annotations


def cdiv(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def next_power_of_2(n: int) -> int:
    """The least power of two that is not below ``n``, an integer from 1 on."""
    return 1 << (n - 1).bit_length()
