"""The architectures of GGUF files, and how they spell the decoder's tensors. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmrt.model.families.family import TensorNames

GGUF_NAMES = TensorNames(
    embedding="token_embd",
    final_norm="output_norm",
    lm_head="output",
    layer="blk.{i}.",
    attention_norm="attn_norm",
    q="attn_q",
    k="attn_k",
    v="attn_v",
    attention_output="attn_output",
    mlp_norm="ffn_norm",
    gate="ffn_gate",
    up="ffn_up",
    down="ffn_down",
    router="ffn_gate_inp",
    expert_gate="ffn_gate_exps",
    expert_up="ffn_up_exps",
    expert_down="ffn_down_exps",
    q_norm="attn_q_norm",
    k_norm="attn_k_norm",
    shared_gate="ffn_gate_inp_shexp",
    shared_expert_gate="ffn_gate_shexp",
    shared_expert_up="ffn_up_shexp",
    shared_expert_down="ffn_down_shexp",
    interleaved_rope=True,
    flat_shared_gate=True,
)
# Most architectures keep q and k in half-split order.
_HALF_SPLIT = replace(GGUF_NAMES, interleaved_rope=False)


@dataclass(frozen=True)
class Architecture:
    """The ``family`` that it is, and its names."""

    family: str
    names: TensorNames


# "llama" is Llama, Mistral and Mixtral alike.
ARCHITECTURES = {
    "llama": Architecture("llama", GGUF_NAMES),
    "qwen2": Architecture("qwen2", _HALF_SPLIT),
    "qwen3": Architecture("qwen3", _HALF_SPLIT),
    "qwen2moe": Architecture("qwen2_moe", _HALF_SPLIT),
    "qwen3moe": Architecture("qwen3_moe", _HALF_SPLIT),
}
