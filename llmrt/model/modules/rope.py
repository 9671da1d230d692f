"""Rotary position embedding: the angles, worked out once in float64 (https://arxiv.org/abs/2104.09864).

The default frequencies are theta ** (-2i / D) for i = 0 .. D/2 - 1; a scaling changes them before any position
is seen, so the table below is all that the kernels need.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from llmrt.model.config import (
    DynamicScaling,
    FrequencyDivisors,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RopeConfig,
    YarnScaling,
)


def cos_sin_table(rope: RopeConfig, head_dim: int, context_length: int) -> Tensor:
    """Cosines and sines of every position, [context_length, 2, head_dim / 2] fp32.

    Dimensions that are not rotated come last in each half of a head (``HeadOrder``); their angle is 0.
    """
    rotary_dim = head_dim if rope.rotary_dim is None else rope.rotary_dim
    freq = inv_freq(rope, rotary_dim, context_length)
    angles = torch.outer(torch.arange(context_length, dtype=torch.float64), freq)
    magnitude = rope.scaling.attention_factor if isinstance(rope.scaling, YarnScaling | LongRopeScaling) else 1.0
    still = (head_dim - rotary_dim) // 2
    cos, sin = F.pad(angles.cos() * magnitude, (0, still), value=1.0), F.pad(angles.sin() * magnitude, (0, still))
    return torch.stack((cos, sin), dim=1).float()


def inv_freq(rope: RopeConfig, head_dim: int, context_length: int) -> Tensor:
    """Radians a position for each pair of dimensions, [head_dim / 2] float64."""
    theta = rope.theta
    if isinstance(rope.scaling, DynamicScaling):
        theta = _dynamic_theta(rope.scaling, theta, head_dim, context_length)
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    freq = theta**-exponents
    match rope.scaling:
        case LinearScaling(factor):
            return freq / factor
        case Llama3Scaling():
            return _llama3(freq, rope.scaling)
        case YarnScaling():
            return _yarn(freq, rope.scaling, theta, head_dim)
        case LongRopeScaling(short, long, original_context):
            return freq / torch.tensor(long if context_length > original_context else short, dtype=torch.float64)
        case FrequencyDivisors(divisors):
            return freq / torch.tensor(divisors, dtype=torch.float64)
        case DynamicScaling() | None:
            return freq


def _dynamic_theta(scaling: DynamicScaling, theta: float, head_dim: int, context_length: int) -> float:
    """NTK-aware base for a sequence of ``context_length``; none shorter than what the model was made for counts."""
    length = max(context_length, scaling.original_context)
    growth = scaling.factor * length / scaling.original_context - (scaling.factor - 1)
    return theta * growth ** (head_dim / (head_dim - 2))


def _llama3(freq: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Divide long wavelengths by the factor, keep short ones, and blend linearly in turns per context between."""
    turns = scaling.original_context * freq / (2 * math.pi)
    span = scaling.high_freq_factor - scaling.low_freq_factor
    keep = ((turns - scaling.low_freq_factor) / span).clamp(0, 1)
    return keep * freq + (1 - keep) * freq / scaling.factor


def _yarn(freq: Tensor, scaling: YarnScaling, theta: float, head_dim: int) -> Tensor:
    """Dimensions below the ramp keep their frequency, those above it are divided by the factor (YaRN, eqs. 17-20)."""

    def dimension_of(turns: float) -> float:
        return head_dim * math.log(scaling.original_context / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension_of(scaling.beta_fast), dimension_of(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    ramp = (torch.arange(head_dim // 2, dtype=torch.float64) - low) / max(high - low, 0.001)
    divide = ramp.clamp(0, 1)
    return freq * (1 - divide) + freq / scaling.factor * divide
