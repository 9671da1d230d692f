"""The likeliest token.

A logit and its place make one int64 key, so that the largest key is the largest logit, and of equals the first:

    [ the float's bits, ordered as integers: 32 | 2^32 - 1 - place: 32 ]

A program finds the largest key of a stretch of a row; another one takes the largest of a row's stretches.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from llmrt_kernels.triton.integers import cdiv, next_power_of_2
from llmrt_kernels.triton.variant import Variant

STRETCH = 2048  # values of a row that one program reads
NO_KEY = tl.constexpr(-(1 << 63))
LOW_WORD = tl.constexpr(0xFFFFFFFF)


def argmax(logits: Tensor) -> Tensor:
    """The index of each row's largest value. logits [T, V] -> [T] int64."""
    keys = largest_keys(logits)
    tokens, stretches = keys.shape
    out = torch.empty(tokens, dtype=torch.int64, device=logits.device)
    argmax_kernel[(tokens,)](keys, out, STRETCHES=stretches, PADDED=next_power_of_2(stretches), num_warps=1)
    return out


def largest_keys(logits: Tensor) -> Tensor:
    """The largest key of each stretch of each row. logits [T, V] -> [T, V / STRETCH]."""
    tokens, size = logits.shape
    keys = torch.empty(tokens, cdiv(size, STRETCH), dtype=torch.int64, device=logits.device)
    largest_keys_kernel[tuple(keys.shape)](logits, keys, SIZE=size, STRETCH=STRETCH)
    return keys


@triton.jit
def largest_keys_kernel(logits_ptr, keys_ptr, SIZE: tl.constexpr, STRETCH: tl.constexpr):
    """A program reads a stretch of a row."""
    t, stretch = tl.program_id(0).to(tl.int64), tl.program_id(1)
    at = stretch * STRETCH + tl.arange(0, STRETCH)
    inside = at < SIZE
    logits = tl.load(logits_ptr + t * SIZE + at, mask=inside, other=0.0).to(tl.float32)
    keys = tl.where(inside, key_of(logits, at), NO_KEY)
    tl.store(keys_ptr + t * tl.num_programs(1) + stretch, tl.max(keys, 0))


@triton.jit
def key_of(x, place):
    """The key of value x fp32 at ``place`` int32."""
    bits = (x + 0.0).to(tl.int32, bitcast=True)  # + 0: the two zeros are equal
    ordered = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (ordered.to(tl.int64) << 32) | (place.to(tl.int64) ^ LOW_WORD)


@triton.jit
def value_of(key):
    """The value that a key was made of."""
    ordered = (key >> 32).to(tl.int32)
    return tl.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).to(tl.float32, bitcast=True)


@triton.jit
def place_of(key):
    """The place that a key was made of, int64."""
    return (key & LOW_WORD) ^ LOW_WORD


@triton.jit
def largest_of_row(keys_ptr, t, STRETCHES: tl.constexpr, PADDED: tl.constexpr):
    """The largest of the keys that row t (int64) has, one for each stretch."""
    at = tl.arange(0, PADDED)
    return tl.max(tl.load(keys_ptr + t * STRETCHES + at, mask=at < STRETCHES, other=NO_KEY), 0)


@triton.jit
def argmax_kernel(keys_ptr, out_ptr, STRETCHES: tl.constexpr, PADDED: tl.constexpr):
    """A program compares the stretches of a row."""
    t = tl.program_id(0).to(tl.int64)
    tl.store(out_ptr + t, place_of(largest_of_row(keys_ptr, t, STRETCHES, PADDED)))


VARIANTS = (
    Variant(
        "argmax-stretch",
        largest_keys_kernel,
        {"logits_ptr": "*bf16", "keys_ptr": "*i64"},
        {"SIZE": 128256, "STRETCH": STRETCH},
    ),
)
