"""Phi 1 to 2, whose layers are parallel and heads partly rotated, and Phi-3 and 4-mini, Llamas in fused tensors."""

from __future__ import annotations

from llmrt.model.config import ModelConfig
from llmrt.model.families.family import Family, TensorNames
from llmrt.model.families.shape import read_activation, read_shape, refuse_true
from llmrt.model.fields import Fields

PHI_NAMES = TensorNames(
    final_norm="model.final_layernorm",
    attention_output="self_attn.dense",
    up="mlp.fc1",
    down="mlp.fc2",
)
PHI3_NAMES = TensorNames(
    q="self_attn.qkv_proj[q]",
    k="self_attn.qkv_proj[k]",
    v="self_attn.qkv_proj[v]",
    gate="mlp.gate_up_proj[gate]",
    up="mlp.gate_up_proj[up]",
)


def read_phi(fields: Fields) -> ModelConfig:
    """Attention and MLP read the same norm of the stream; all products have biases."""
    refuse_true(fields, "qk_layernorm")
    return read_shape(
        fields,
        "phi",
        {"rms_norm_eps": "layer_norm_eps"},
        layer_norm=True,
        parallel_residual=True,
        shared_norm=True,
        gated_mlp=False,
        activation=read_activation(fields, "hidden_act", "gelu_new"),
        qkv_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
        lm_head_bias=True,
    )


def read_phi3(fields: Fields) -> ModelConfig:
    """A Llama's fields and ``sliding_window`` (absent: none)."""
    return read_shape(fields, "phi3", sliding_window=fields.size_or_none("sliding_window"))


PHI = Family(("phi",), read_phi, PHI_NAMES)
PHI3 = Family(("phi3",), read_phi3, PHI3_NAMES)
