"""What fields of a configuration must be to each other, however a file spells them. Free of torch."""

from __future__ import annotations

from llmrt.errors import CheckpointError
from llmrt.model.config import (
    DynamicScaling,
    FrequencyDivisors,
    Llama3Scaling,
    LongRopeScaling,
    ModelConfig,
    RopeConfig,
    YarnScaling,
)


def check_config(config: ModelConfig, where: str) -> None:
    """Raise ``CheckpointError`` that begins with ``where`` for numbers of which no decoder can be made."""
    reason = _fault(config)
    if reason is not None:
        raise CheckpointError(f"{where}: {reason}.")


def _fault(config: ModelConfig) -> str | None:
    if config.num_heads % config.num_kv_heads:
        return f"{config.num_heads} heads are not a multiple of {config.num_kv_heads} heads of keys and values"
    if config.moe is not None and config.moe.num_active > config.moe.num_experts:
        return f"a token passes through {config.moe.num_active} experts, of which there are {config.moe.num_experts}"
    ropes = [config.rope] if config.local_rope is None else [config.rope, config.local_rope]
    return next((reason for rope in ropes if (reason := _rope_fault(rope, config.head_dim)) is not None), None)


def _rope_fault(rope: RopeConfig, head_dim: int) -> str | None:
    rotary_dim = head_dim if rope.rotary_dim is None else rope.rotary_dim
    if rotary_dim == 0:
        return None
    if not 0 < rotary_dim <= head_dim or rotary_dim % 2 or head_dim % 2:
        return f"{rotary_dim} of {head_dim} dimensions of a head would be rotated"
    return _scaling_fault(rope, rotary_dim)


def _scaling_fault(rope: RopeConfig, rotary_dim: int) -> str | None:
    match rope.scaling:
        case YarnScaling() if rope.theta <= 1:
            return f"YaRN's ramp needs a base above 1, but RoPE's is {rope.theta}"
        case DynamicScaling() if rotary_dim == 2:
            return "dynamic scaling is not defined for 2 rotated dimensions of a head"
        case Llama3Scaling(_, low, high) if low >= high:
            return f"low_freq_factor is {low}; it must be below high_freq_factor, which is {high}"
        case FrequencyDivisors(divisors):
            return _divisors_fault(rotary_dim, divisors)
        case LongRopeScaling(short, long):
            return _divisors_fault(rotary_dim, short) or _divisors_fault(rotary_dim, long)
        case _:
            return None


def _divisors_fault(rotary_dim: int, divisors: tuple[float, ...]) -> str | None:
    if len(divisors) != rotary_dim // 2:
        return f"{len(divisors)} factors are for RoPE's {rotary_dim // 2} frequencies"
    wrong = next((divisor for divisor in divisors if not 0 < divisor < float("inf")), None)
    return None if wrong is None else f"a frequency of RoPE would be divided by {wrong}"
