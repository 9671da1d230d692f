"""The architectures of GGUF files, and how they spell the decoder's tensors. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmrt.model.families.family import TensorNames

GGUF_NAMES = TensorNames(
    embedding="token_embd",
    positions="position_embd",
    embedding_norm="token_embd_norm",
    final_norm="output_norm",
    lm_head="output",
    layer="blk.{i}.",
    attention_norm="attn_norm",
    q="attn_q",
    k="attn_k",
    v="attn_v",
    attention_output="attn_output",
    attention_post_norm="post_attention_norm",
    mlp_norm="ffn_norm",
    mlp_post_norm="post_ffw_norm",
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
_FUSED_QKV = replace(_HALF_SPLIT, q="attn_qkv[q]", k="attn_qkv[k]", v="attn_qkv[v]")
_FALCON = replace(_FUSED_QKV, parallel_norms=("attn_norm_2", "attn_norm"))


@dataclass(frozen=True)
class Architecture:
    """The ``family`` that it is, its names, and what no field and no tensor of a file says of the decoder."""

    family: str
    names: TensorNames
    activation: str = "silu"
    gated_mlp: bool = True
    pre_norms: bool = True
    parallel_residual: bool = False
    layer_norm: bool = False
    scaled_embedding: bool = False


# "llama" is Llama, Mistral and Mixtral alike.
ARCHITECTURES = {
    "llama": Architecture("llama", GGUF_NAMES),
    "qwen2": Architecture("qwen2", _HALF_SPLIT),
    "qwen3": Architecture("qwen3", _HALF_SPLIT),
    "qwen2moe": Architecture("qwen2_moe", _HALF_SPLIT),
    "qwen3moe": Architecture("qwen3_moe", _HALF_SPLIT),
    "phi2": Architecture("phi", _HALF_SPLIT, "gelu_tanh", gated_mlp=False, parallel_residual=True),
    "phi3": Architecture("phi3", replace(_FUSED_QKV, gate="ffn_up[gate]", up="ffn_up[up]")),
    "gemma": Architecture("gemma", _HALF_SPLIT, "gelu_tanh", scaled_embedding=True),
    "gemma2": Architecture("gemma2", _HALF_SPLIT, "gelu_tanh", scaled_embedding=True),
    "gpt2": Architecture("gpt2", _FUSED_QKV, "gelu_tanh", gated_mlp=False),
    "gptneox": Architecture("gpt_neox", _FUSED_QKV, "gelu", gated_mlp=False, parallel_residual=True),
    "falcon": Architecture("falcon", _FALCON, "gelu", gated_mlp=False, parallel_residual=True),
    "bloom": Architecture("bloom", _FUSED_QKV, "gelu_tanh", gated_mlp=False),
    "mpt": Architecture("mpt", _FUSED_QKV, "gelu", gated_mlp=False, layer_norm=True),
    "stablelm": Architecture("stablelm", _HALF_SPLIT),
    "starcoder2": Architecture("starcoder2", _HALF_SPLIT, "gelu_tanh", gated_mlp=False),
    "olmo2": Architecture("olmo2", _HALF_SPLIT, pre_norms=False),
    "granite": Architecture("granite", GGUF_NAMES),
    "command-r": Architecture("cohere", GGUF_NAMES, parallel_residual=True, layer_norm=True),
    "cohere2": Architecture("cohere2", GGUF_NAMES, parallel_residual=True, layer_norm=True),
    "internlm2": Architecture("internlm2", GGUF_NAMES),
}
