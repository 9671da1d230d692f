"""Where each tensor of a checkpoint belongs in the decoder. Free of torch.

The decoder keeps some matrices side by side that checkpoints keep apart, so that one product does their work:

    attention.qkv.weight   rows  [ q: H * D | k: KVH * D | v: KVH * D ]
    mlp.gate_up.weight     rows  [ gate: I | up: I ]

In a mixture of experts both matrices of the MLP have the expert as a dimension before their rows.

The table below is complete: what a checkpoint has beyond it is left over, what it lacks is missing. A checkpoint that
fuses tensors is shown with their parts, see ``fused.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from llmrt.model.config import ModelConfig, MoeConfig
from llmrt.model.families.family import TensorNames

EVERYTHING = slice(None)


@dataclass(frozen=True)
class HeadOrder:
    """How a checkpoint orders the rows of ``num_heads`` heads of q or k, where the decoder has another order.

    Of a head's rows the first ``rotary_dim`` are rotated; they are in two halves, or pairwise if ``interleaved``. The
    decoder's heads are two halves, each of what is rotated and then of what is not.
    """

    num_heads: int
    rotary_dim: int
    interleaved: bool


@dataclass(frozen=True)
class Slot:
    """``index`` into the decoder's ``parameter``, where a tensor of ``shape`` goes.

    ``heads`` is how its rows are to be reordered, if they are. ``offset`` is added to its numbers. ``role``
    is what a quantizer goes by: q, k, v, attention_output, gate, up, down, expert_gate, expert_up, expert_down,
    embedding or lm_head; None for what is never quantized.
    """

    parameter: str
    shape: tuple[int, ...]
    index: tuple[slice | int, ...] = (EVERYTHING,)
    heads: HeadOrder | None = None
    role: str | None = None
    offset: float = 0.0


Slots = Iterator[tuple[str, Slot]]


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


def _all(config: ModelConfig, names: TensorNames) -> Slots:
    hidden, vocabulary = config.hidden_size, config.vocab_size
    yield f"{names.embedding}.weight", Slot("embedding.weight", (vocabulary, hidden), role="embedding")
    if config.learned_positions:
        yield f"{names.positions}.weight", Slot("positions.weight", (config.context_length, hidden))
    if config.embedding_norm:
        yield from _norm(config, names, names.embedding_norm, "embedding_norm")
    for i in range(config.num_layers):
        yield from _layer(config, config.moe_of(i), names, names.layer.format(i=i), f"layers.{i}.")
    yield from _norm(config, names, names.final_norm, "norm")
    if not config.tied_embeddings:
        yield f"{names.lm_head}.weight", Slot("lm_head.weight", (vocabulary, hidden), role="lm_head")
    if config.lm_head_bias:
        yield f"{names.lm_head}.bias", Slot("lm_head.bias", (vocabulary,))


def _layer(config: ModelConfig, moe: MoeConfig | None, names: TensorNames, source: str, target: str) -> Slots:
    attention_norm, mlp_norm = names.attention_norm, names.mlp_norm
    if names.parallel_norms and config.parallel_residual and not config.shared_norm:
        attention_norm, mlp_norm = names.parallel_norms
    norms = (
        (config.pre_norms, attention_norm, "attention_norm"),
        (config.post_norms, names.attention_post_norm, "attention_join"),
        (config.pre_norms and not config.shared_norm, mlp_norm, "mlp_norm"),
        (config.post_norms, names.mlp_post_norm, "mlp_join"),
    )
    for there, name, parameter in norms:
        if there:
            yield from _norm(config, names, f"{source}{name}", f"{target}{parameter}")
    yield from _attention(config, names, source, f"{target}attention.")
    shape = (config.intermediate_size, config.hidden_size)
    if moe is not None:
        yield from _moe(config.hidden_size, moe, names, source, f"{target}mlp.")
    elif config.gated_mlp:
        yield from _mlp(shape, config.mlp_bias, (names.gate, names.up, names.down), source, f"{target}mlp.")
    else:
        yield from _linear(f"{source}{names.up}", f"{target}mlp.up", shape, config.mlp_bias, "up")
        yield from _linear(f"{source}{names.down}", f"{target}mlp.down", shape[::-1], config.mlp_bias, "down")


def _norm(config: ModelConfig, names: TensorNames, source: str, target: str) -> Slots:
    yield f"{source}.weight", Slot(f"{target}.weight", (config.hidden_size,), offset=names.norm_offset)
    if config.layer_norm and config.norm_bias:
        yield f"{source}.bias", Slot(f"{target}.bias", (config.hidden_size,))


def _attention(config: ModelConfig, names: TensorNames, source: str, target: str) -> Slots:
    row = 0
    q, kv = config.num_heads, config.num_kv_heads
    for role, name, num_heads in (("q", names.q, q), ("k", names.k, kv), ("v", names.v, kv)):
        rows = num_heads * config.head_dim
        order = None if role == "v" else _head_order(config, names, num_heads)
        index = (slice(row, row + rows),)
        yield f"{source}{name}.weight", Slot(f"{target}qkv.weight", (rows, config.hidden_size), index, order, role)
        if config.qkv_bias:
            yield f"{source}{name}.bias", Slot(f"{target}qkv.bias", (rows,), index, order)
        row += rows
    if config.qk_norm:
        yield from _qk_norm(config, names, source, f"{target}qk_norm.")
    shape = (config.hidden_size, config.num_heads * config.head_dim)
    bias = config.attention_output_bias
    yield from _linear(f"{source}{names.attention_output}", f"{target}output", shape, bias, "attention_output")


def _qk_norm(config: ModelConfig, names: TensorNames, source: str, target: str) -> Slots:
    for name, parameter, num_heads in ((names.q_norm, "q", config.num_heads), (names.k_norm, "k", config.num_kv_heads)):
        heads = num_heads if config.qk_norm_of_rows or config.qk_layer_norm else 1
        order = _head_order(config, names, heads)
        shape = (num_heads, config.head_dim) if config.qk_layer_norm else (heads * config.head_dim,)
        slot = Slot(f"{target}{parameter}", shape, heads=order, offset=names.norm_offset)
        yield f"{source}{name}.weight", slot


def _head_order(config: ModelConfig, names: TensorNames, num_heads: int) -> HeadOrder | None:
    if config.rotary_dim == 0 or (config.rotary_dim == config.head_dim and not names.interleaved_rope):
        return None
    return HeadOrder(num_heads, config.rotary_dim, names.interleaved_rope)


def _mlp(shape: tuple[int, int], bias: bool, names: tuple[str, str, str], source: str, target: str) -> Slots:
    """Of ``shape`` [I, hidden]; ``names`` are those of gate, up and down."""
    inner, hidden = shape
    gate, up, down = names
    for role, name, start in (("gate", gate, 0), ("up", up, inner)):
        index = (slice(start, start + inner),)
        yield f"{source}{name}.weight", Slot(f"{target}gate_up.weight", shape, index, role=role)
        if bias:
            yield f"{source}{name}.bias", Slot(f"{target}gate_up.bias", (inner,), index)
    yield from _linear(f"{source}{down}", f"{target}down", (hidden, inner), bias, "down")


def _moe(hidden: int, moe: MoeConfig, names: TensorNames, source: str, target: str) -> Slots:
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


def _shared_expert(hidden: int, inner: int, names: TensorNames, source: str, target: str) -> Slots:
    gate_shape = (hidden,) if names.flat_shared_gate else (1, hidden)
    yield f"{source}{names.shared_gate}.weight", Slot(f"{target}gate.weight", gate_shape)
    mlp = (names.shared_expert_gate, names.shared_expert_up, names.shared_expert_down)
    yield from _mlp((inner, hidden), False, mlp, source, target)


def _linear(source: str, target: str, shape: tuple[int, ...], bias: bool, role: str | None) -> Slots:
    yield f"{source}.weight", Slot(f"{target}.weight", shape, role=role)
    if bias:
        yield f"{source}.bias", Slot(f"{target}.bias", shape[:1])
