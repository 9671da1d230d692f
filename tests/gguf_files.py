"""GGUF files of tiny models, laid out as llama.cpp's converter does and written by the gguf library."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from transformers import PreTrainedModel

SHAPE = {"hidden_size": 64, "intermediate_size": 96}
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_up_proj": "ffn_up",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "model.final_layernorm": "output_norm",
    "self_attn.dense": "attn_output",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "gpt_neox.embed_in": "token_embd",
    "gpt_neox.final_layer_norm": "output_norm",
    "embed_out": "output",
    "attention.query_key_value": "attn_qkv",
    "attention.dense": "attn_output",
    "self_attention.query_key_value": "attn_qkv",
    "self_attention.dense": "attn_output",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
    "transformer.word_embeddings": "token_embd",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "ln_attn": "attn_norm_2",
    "ln_mlp": "attn_norm",
    "transformer.word_embeddings_layernorm": "token_embd_norm",
    "transformer.norm_f": "output_norm",
    "norm_1": "attn_norm",
    "norm_2": "ffn_norm",
    "attn.Wqkv": "attn_qkv",
    "attn.out_proj": "attn_output",
    "ffn.up_proj": "ffn_up",
    "ffn.down_proj": "ffn_down",
    "attn.c_proj": "attn_output",
}
ONE_KIND = ("gpt_neox", "gpt2", "bloom", "mpt")  # of heads: config.json does not say how many have keys and values
FOURFOLD = ("gpt2", "falcon", "bloom", "mpt")  # whose MLPs are four times as wide as the stream
BEHIND_PRODUCTS = ("gemma2", "olmo2")  # whose post_attention_layernorm is what it says
LAYERS = re.compile(r"(?:model\.layers|gpt_neox\.layers|transformer\.(?:h|blocks))\.(\d+)\.(.+)")

OTHERWISE = {
    "mistral": "llama",
    "mixtral": "llama",
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
    "phi": "phi2",
    "gpt_neox": "gptneox",
    "cohere": "command-r",
}


def permute(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """llama.cpp's order of the rows of q and k."""
    halves = weight.reshape(num_heads, 2, weight.shape[0] // num_heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def gguf_tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    config, out = model.config, {}
    tied = getattr(config, "tie_word_embeddings", True)
    permuted = config.model_type in ("llama", "mistral", "mixtral", "granite")
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        if "q_proj" in name and permuted:
            tensor = permute(tensor, config.num_attention_heads)
        if "k_proj" in name and permuted:
            tensor = permute(tensor, config.num_key_value_heads)
        if "query_key_value" in name:  # for each key/value head its queries, k, v -> all q, all k, all v
            groups = kv_heads_of(config)
            heads = tensor.unflatten(0, (groups, config.num_attention_heads // groups + 2, -1))
            parts = heads[:, :-2].flatten(0, 2), heads[:, -2].flatten(0, 1), heads[:, -1].flatten(0, 1)
            tensor = torch.cat(parts)
        if config.model_type == "gpt2" and ".h." in name and name.endswith("weight"):
            tensor = tensor.T
        if config.model_type.startswith("gemma") and "norm" in name:
            tensor = tensor + 1
        path, suffix = name.rsplit(".", 1)
        if (match := LAYERS.fullmatch(path)) is not None:
            layer, part = match.groups()
            if part == "post_attention_layernorm" and config.model_type in BEHIND_PRODUCTS:
                out[f"blk.{layer}.post_attention_norm.weight"] = tensor
                continue
            if part == "mlp.experts":  # [E, 2I, N] gate above up, or [E, N, I]
                if suffix == "gate_up_proj":
                    gate, up = tensor.chunk(2, dim=1)
                    out[f"blk.{layer}.ffn_gate_exps.weight"], out[f"blk.{layer}.ffn_up_exps.weight"] = gate, up
                else:
                    out[f"blk.{layer}.ffn_down_exps.weight"] = tensor
                continue
            out[f"blk.{layer}.{NAMES[part]}.{suffix}"] = tensor.squeeze()
        else:
            out[f"{NAMES[path]}.{suffix}"] = tensor
    return out


def kv_heads_of(config: Any) -> int:
    if config.model_type == "falcon":
        return config.num_kv_heads if config.new_decoder_architecture else 1
    many = config.num_attention_heads
    return many if config.model_type in ONE_KIND else getattr(config, "num_key_value_heads", many)


def inner_size(config: Any) -> int:
    return 4 * config.hidden_size if config.model_type in FOURFOLD else config.intermediate_size


def add_norm_eps(writer: gguf.GGUFWriter, config: Any) -> None:
    if hasattr(config, "rms_norm_eps"):
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        return
    names = ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")
    writer.add_layer_norm_eps(next(getattr(config, name) for name in names if hasattr(config, name)))


def add_own_fields(writer: gguf.GGUFWriter, config: Any) -> None:
    if config.model_type == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if config.model_type in ("cohere", "cohere2"):
        writer.add_logit_scale(config.logit_scale)
    if config.model_type == "mpt":
        writer.add_max_alibi_bias(config.attn_config.alibi_bias_max)
    if config.model_type in ("gemma2", "phi3", "starcoder2", "cohere2") and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    if config.model_type in ("gpt_neox", "stablelm"):
        writer.add_parallel_residual(config.use_parallel_residual)
    if config.model_type == "granite":
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)


def add_rope(writer: gguf.GGUFWriter, config: Any) -> None:
    rope = getattr(config, "rope_parameters", None) or {"rope_type": "default", "rope_theta": 10000.0}
    writer.add_rope_freq_base(rope["rope_theta"])
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1)))
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def add_experts(writer: gguf.GGUFWriter, config: Any) -> None:
    if getattr(config, "num_local_experts", None):
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if hasattr(config, "moe_intermediate_size"):
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if hasattr(config, "shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)


# Where the blocks of types that the library cannot make have scales in fp16.
SCALES_AT = {Kind.Q2_K: (80, 82), Kind.Q3_K: (108,), Kind.Q4_K: (0, 2), Kind.Q5_K: (0, 2), Kind.Q6_K: (208,)}


def quantized(values: np.ndarray, kind: Kind) -> np.ndarray:
    """By the library where it can, else blocks of random bits whose scales are small numbers, [.., bytes of a row]."""
    try:
        return gguf.quants.quantize(values, kind)
    except NotImplementedError:
        rng, (block_values, size) = np.random.default_rng(0), gguf.GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (values.size // block_values, size), dtype=np.uint8)
        for at in SCALES_AT.get(kind, (0,)):
            scales = rng.uniform(1e-3, 2e-3, (len(blocks), 1)).astype(np.float16)
            blocks[:, at : at + 2] = scales.view(np.uint8)
        return blocks.reshape(*values.shape[:-1], -1)


def write_gguf(
    model: PreTrainedModel,
    path: Path,
    kind: Kind | Callable[[str], Kind] = Kind.F32,
    extra: dict[str, np.ndarray] | None = None,
    architecture: str | None = None,
    tensors_of_a_part: int = 0,
    alignment: int | None = None,
) -> Path:
    """Matrices are of one ``kind``, or of what that says of each; vectors are fp32. ``extra`` tensors come last."""
    config = model.config
    architecture = architecture or OTHERWISE.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=tensors_of_a_part)
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(inner_size(config))
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(kv_heads_of(config))
    add_norm_eps(writer, config)
    add_own_fields(writer, config)
    add_rope(writer, config)
    writer.add_vocab_size(config.vocab_size)
    add_experts(writer, config)
    if getattr(config, "head_dim", None):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    for name, tensor in gguf_tensors(model).items():
        values = tensor.float().numpy()
        wanted = kind if isinstance(kind, Kind) else kind(name)
        stored = wanted if values.ndim > 1 else Kind.F32
        writer.add_tensor(name, quantized(values, stored), raw_dtype=stored)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def round_weights(model: PreTrainedModel, kind: Kind) -> PreTrainedModel:
    """The same model with each matrix quantized and dequantized by the gguf library."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.squeeze().dim() > 1 and "norm" not in name:
                values = gguf.quants.quantize(parameter.numpy(), kind)
                parameter.copy_(torch.from_numpy(gguf.quants.dequantize(values, kind)).view_as(parameter))
    return model
