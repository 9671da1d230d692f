"""The params.json that Mistral's own programs read, and how their checkpoints name tensors.

https://github.com/mistralai/mistral-inference has the model that this describes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmrt.errors import CheckpointError
from llmrt.model.config import ModelConfig, MoeConfig, RopeConfig
from llmrt.model.families.family import Family, TensorNames
from llmrt.model.families.mixtral import num_active_experts
from llmrt.model.families.shape import read_shape
from llmrt.model.fields import Fields

NAMES = TensorNames(
    embedding="tok_embeddings",
    final_norm="norm",
    lm_head="output",
    layer="layers.{i}.",
    attention_norm="attention_norm",
    q="attention.wq",
    k="attention.wk",
    v="attention.wv",
    attention_output="attention.wo",
    mlp_norm="ffn_norm",
    gate="feed_forward.w1",
    up="feed_forward.w3",
    down="feed_forward.w2",
    router="feed_forward.gate",
    expert_gate="feed_forward.experts.{e}.w1",
    expert_up="feed_forward.experts.{e}.w3",
    expert_down="feed_forward.experts.{e}.w2",
    interleaved_rope=True,
)
_SPELLED = {
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "hidden_dim",
    "rms_norm_eps": "norm_eps",
}
# What models have that compute otherwise than Mistral and Mixtral.
_OTHERS = ("yarn", "rope_scaling", "llama_4_scaling", "q_lora_rank", "vision_encoder", "multimodal")
# Of the models whose params.json does not say.
CONTEXT = 32768


def read_params(fields: Fields) -> ModelConfig:
    """Mistral, or Mixtral with ``moe``. Raises ``CheckpointError`` for a field of another model."""
    for name in _OTHERS:
        if name in fields:
            raise CheckpointError(
                f"{fields.where}: {name} is not supported in this layout; use the model's copy with config.json."
            )
    window = fields.size_or_none("sliding_window")
    changes: dict[str, Any] = {
        "context_length": fields.size("max_position_embeddings", fields.size("max_seq_len", CONTEXT)),
        "rope": RopeConfig(fields.positive("rope_theta", 1e6 if window is None else 1e4)),
        "tied_embeddings": fields.get("tied_embeddings", bool, False),
        "sliding_window": window,
        "dtype": "bf16",
    }
    config = read_shape(fields, "mistral", _SPELLED, **changes)
    moe = fields.inside("moe")
    return config if moe is None else replace(config, family="mixtral", moe=_experts(moe, config.intermediate_size))


def _experts(moe: Fields, inner: int) -> MoeConfig:
    num_experts = moe.count("num_experts")
    return MoeConfig(num_experts, num_active_experts(moe, num_experts, 2), inner)


MISTRAL_PARAMS = Family((), read_params, NAMES)
