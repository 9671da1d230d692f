"""What a model family is: how its config.json reads, and how its tensors are called. Free of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from llmrt.model.config import ModelConfig
from llmrt.model.families.plausible import check_config
from llmrt.model.fields import Fields


@dataclass(frozen=True, kw_only=True)
class TensorNames:
    """How a checkpoint spells the decoder's tensors, without the ".weight" or ".bias" at the end.

    ``layer`` and the names below it are joined; {i} is the layer and {e} the expert. An expert name without {e}
    is one tensor for all experts of the layer. With ``interleaved_rope`` the rows of q and k are stored in the
    order of RoPE over neighbouring pairs and are put into half-split order on loading. With ``flat_shared_gate`` the
    gate of the shared expert is a vector, not a matrix of one row. Weights of norms are stored less ``norm_offset``.

    A name with [a part] at its end is that part of a tensor in which several stand one above the other: q, k and v as a
    rule, but for each key/value head with its queries if ``qkv_by_kv_head``. If ``transposed`` such matrices are stored
    with their columns as rows.

    Where attention and MLP read the stream side by side, each after a norm of its own, those may be called
    ``parallel_norms``. The first ``unused_positions`` rows of the table of positions are no positions.
    """

    embedding: str = "model.embed_tokens"
    positions: str = "model.embed_positions"
    embedding_norm: str = "model.embed_layernorm"
    final_norm: str = "model.norm"
    lm_head: str = "lm_head"
    layer: str = "model.layers.{i}."
    attention_norm: str = "input_layernorm"
    q: str = "self_attn.q_proj"
    k: str = "self_attn.k_proj"
    v: str = "self_attn.v_proj"
    q_norm: str = "self_attn.q_norm"
    k_norm: str = "self_attn.k_norm"
    attention_output: str = "self_attn.o_proj"
    attention_post_norm: str = "post_attention_norm"
    mlp_post_norm: str = "post_feedforward_layernorm"
    mlp_norm: str = "post_attention_layernorm"
    parallel_norms: tuple[str, str] | None = None
    gate: str = "mlp.gate_proj"
    up: str = "mlp.up_proj"
    down: str = "mlp.down_proj"
    router: str = "block_sparse_moe.gate"
    expert_gate: str = "block_sparse_moe.experts.{e}.w1"
    expert_up: str = "block_sparse_moe.experts.{e}.w3"
    expert_down: str = "block_sparse_moe.experts.{e}.w2"
    shared_gate: str = "mlp.shared_expert_gate"
    shared_expert_gate: str = "mlp.shared_expert.gate_proj"
    shared_expert_up: str = "mlp.shared_expert.up_proj"
    shared_expert_down: str = "mlp.shared_expert.down_proj"
    interleaved_rope: bool = False
    flat_shared_gate: bool = False
    norm_offset: float = 0.0
    qkv_by_kv_head: bool = False
    transposed: bool = False
    unused_positions: int = 0

    @property
    def without_prefix(self) -> TensorNames:
        """The same of a model without a head, which stands inside of one that has it: "model.norm" is "norm" there."""
        inside = ("embedding", "positions", "embedding_norm", "final_norm", "layer")
        return replace(self, **{name: getattr(self, name).partition(".")[2] for name in inside})


@dataclass(frozen=True)
class Family:
    """``model_types`` as config.json names them, and ``read``, by which such a config becomes a ``ModelConfig``."""

    model_types: tuple[str, ...]
    read: Callable[[Fields], ModelConfig]
    names: TensorNames = TensorNames()

    def read_config(self, fields: Fields) -> ModelConfig:
        """What ``fields`` say. Raises ``CheckpointError`` that names what is missing or cannot be."""
        config = self.read(fields)
        check_config(config, fields.where)
        return config
