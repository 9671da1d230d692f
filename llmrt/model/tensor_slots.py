"""Where each tensor of a checkpoint belongs in the decoder. Free of torch.

The decoder keeps some matrices side by side that checkpoints keep apart, so that one product does their work:

    attention.qkv.weight   rows  [ q: H * D | k: KVH * D | v: KVH * D ]
    mlp.gate_up.weight     rows  [ gate: I | up: I ]

In a mixture of experts both matrices of the MLP have the expert as a dimension before their rows.

The table below is complete: what a checkpoint has beyond it is left over, what it lacks is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from llmrt.model.config import ModelConfig, MoeConfig
from llmrt.model.families.family import TensorNames

EVERYTHING = slice(None)


@dataclass(frozen=True)
class Slot:
    """``index`` into the decoder's ``parameter``, where a tensor of ``shape`` goes.

    ``interleaved_heads`` is the number of heads whose rows are stored in RoPE's pairwise order, 0 for none. ``role``
    is what a quantizer goes by: q, k, v, attention_output, gate, up, down, expert_gate, expert_up, expert_down,
    embedding or lm_head; None for what is never quantized.
    """

    parameter: str
    shape: tuple[int, ...]
    index: tuple[slice | int, ...] = (EVERYTHING,)
    interleaved_heads: int = 0
    role: str | None = None


def tensor_slots(config: ModelConfig, names: TensorNames) -> dict[str, Slot]:
    """Every tensor that a checkpoint of this configuration has, by its name there."""
    return dict(_all(config, names))


def num_parameters(config: ModelConfig) -> int:
    """Numbers in the model; tied embeddings count once."""
    return sum(math.prod(slot.shape) for slot in tensor_slots(config, TensorNames()).values())


def num_active_parameters(config: ModelConfig) -> int:
    """Numbers that one decoded token multiplies with: the active experts, and the embedding table as the head alone."""
    table = config.vocab_size * config.hidden_size
    total = num_parameters(config) - (0 if config.tied_embeddings else table)
    if config.moe is None:
        return total
    expert = 3 * config.moe.intermediate_size * config.hidden_size
    layers = config.num_layers - len(config.moe.dense_layers)
    return total - layers * (config.moe.num_experts - config.moe.num_active) * expert


def _all(config: ModelConfig, names: TensorNames) -> Iterator[tuple[str, Slot]]:
    hidden = config.hidden_size
    yield f"{names.embedding}.weight", Slot("embedding.weight", (config.vocab_size, hidden), role="embedding")
    for i in range(config.num_layers):
        yield from _layer(config, config.moe_of(i), names, names.layer.format(i=i), f"layers.{i}.")
    yield f"{names.final_norm}.weight", Slot("norm.weight", (hidden,))
    if not config.tied_embeddings:
        yield f"{names.lm_head}.weight", Slot("lm_head.weight", (config.vocab_size, hidden), role="lm_head")


def _layer(
    config: ModelConfig, moe: MoeConfig | None, names: TensorNames, source: str, target: str
) -> Iterator[tuple[str, Slot]]:
    hidden = config.hidden_size
    yield f"{source}{names.attention_norm}.weight", Slot(f"{target}attention_norm.weight", (hidden,))
    yield from _attention(config, names, source, f"{target}attention.")
    yield f"{source}{names.mlp_norm}.weight", Slot(f"{target}mlp_norm.weight", (hidden,))
    if moe is None:
        shape, mlp = (config.intermediate_size, hidden), (names.gate, names.up, names.down)
        yield from _mlp(shape, config.mlp_bias, mlp, source, f"{target}mlp.")
    else:
        yield from _moe(hidden, moe, names, source, f"{target}mlp.")


def _attention(config: ModelConfig, names: TensorNames, source: str, target: str) -> Iterator[tuple[str, Slot]]:
    row = 0
    q, kv = config.num_heads, config.num_kv_heads
    for role, name, num_heads in (("q", names.q, q), ("k", names.k, kv), ("v", names.v, kv)):
        rows = num_heads * config.head_dim
        interleaved = num_heads if names.interleaved_rope and role != "v" else 0
        index = (slice(row, row + rows),)
        weight = Slot(f"{target}qkv.weight", (rows, config.hidden_size), index, interleaved, role)
        yield f"{source}{name}.weight", weight
        if config.qkv_bias:
            yield f"{source}{name}.bias", Slot(f"{target}qkv.bias", (rows,), index, interleaved)
        row += rows
    if config.qk_norm:
        for name, parameter in ((names.q_norm, "q"), (names.k_norm, "k")):
            yield f"{source}{name}.weight", Slot(f"{target}qk_norm.{parameter}", (config.head_dim,))
    yield from _linear(
        f"{source}{names.attention_output}",
        f"{target}output",
        (config.hidden_size, config.num_heads * config.head_dim),
        config.attention_output_bias,
        "attention_output",
    )


def _mlp(
    shape: tuple[int, int], bias: bool, names: tuple[str, str, str], source: str, target: str
) -> Iterator[tuple[str, Slot]]:
    """Of ``shape`` [I, hidden]; ``names`` are those of gate, up and down."""
    inner, hidden = shape
    gate, up, down = names
    for role, name, start in (("gate", gate, 0), ("up", up, inner)):
        index = (slice(start, start + inner),)
        yield f"{source}{name}.weight", Slot(f"{target}gate_up.weight", shape, index, role=role)
        if bias:
            yield f"{source}{name}.bias", Slot(f"{target}gate_up.bias", (inner,), index)
    yield from _linear(f"{source}{down}", f"{target}down", (hidden, inner), bias, "down")


def _moe(hidden: int, moe: MoeConfig, names: TensorNames, source: str, target: str) -> Iterator[tuple[str, Slot]]:
    inner, num_experts = moe.intermediate_size, moe.num_experts
    yield from _linear(f"{source}{names.router}", f"{target}router", (num_experts, hidden), False, None)
    if moe.shared_size:
        yield from _shared_expert(hidden, moe.shared_size, names, source, f"{target}shared.")
    matrices = (
        ("expert_gate", names.expert_gate, "gate_up.weight", (inner, hidden), slice(0, inner)),
        ("expert_up", names.expert_up, "gate_up.weight", (inner, hidden), slice(inner, 2 * inner)),
        ("expert_down", names.expert_down, "down.weight", (hidden, inner), EVERYTHING),
    )
    for role, name, parameter, shape, rows in matrices:
        if "{e}" not in name:
            index = (EVERYTHING, rows)
            yield f"{source}{name}.weight", Slot(f"{target}{parameter}", (num_experts, *shape), index, role=role)
            continue
        for e in range(num_experts):
            yield f"{source}{name.format(e=e)}.weight", Slot(f"{target}{parameter}", shape, (e, rows), role=role)


def _shared_expert(hidden: int, inner: int, names: TensorNames, source: str, target: str) -> Iterator[tuple[str, Slot]]:
    gate_shape = (hidden,) if names.flat_shared_gate else (1, hidden)
    yield f"{source}{names.shared_gate}.weight", Slot(f"{target}gate.weight", gate_shape)
    mlp = (names.shared_expert_gate, names.shared_expert_up, names.shared_expert_down)
    yield from _mlp((inner, hidden), False, mlp, source, target)


def _linear(
    source: str, target: str, shape: tuple[int, int], bias: bool, role: str | None
) -> Iterator[tuple[str, Slot]]:
    yield f"{source}.weight", Slot(f"{target}.weight", shape, role=role)
    if bias:
        yield f"{source}.bias", Slot(f"{target}.bias", shape[:1])
