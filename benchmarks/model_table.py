"""docs/models.md: which families there are, and what computes each. Run it after a change to either:

python -m benchmarks.model_table
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmrt.model.config import ModelConfig
from llmrt.model.families.gguf_names import ARCHITECTURES
from llmrt.model.families.registry import FAMILIES, read_model_config
from llmrt.model.fields import Fields
from llmrt.ops.options import NATIVE_OPTIONS, TRITON_OPTIONS

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
MODELS = {
    "llama": "Llama 1 to 3, Code Llama, Alpaca, Vicuna, Koala, Guanaco, TinyLlama, Yi, DeepSeek-Coder, CALM2, ELYZA,"
    " Youri, Goliath, SmolLM2",
    "mistral": "Mistral 7B",
    "mixtral": "Mixtral 8x7B, 8x22B",
    "qwen2": "Qwen 2, Qwen 2.5",
    "qwen3": "Qwen 3",
    "qwen2_moe": "Qwen 1.5 MoE, Qwen 2 MoE",
    "qwen3_moe": "Qwen 3 30B-A3B, 235B-A22B",
    "phi": "Phi-1, Phi-1.5, Phi-2",
    "phi3": "Phi-3 mini and medium, Phi-4, Phi-4-mini",
    "gemma": "Gemma 1",
    "gemma2": "Gemma 2",
    "gemma3_text": "Gemma 3, the models of text alone",
    "gpt2": "GPT-2",
    "gptj": "GPT-J",
    "gpt_neox": "GPT-NeoX, Pythia",
    "gpt_neo": "GPT-Neo",
    "opt": "OPT but for the 350M",
    "bloom": "BLOOM, BLOOMZ",
    "mpt": "MPT 7B, 30B",
    "falcon": "Falcon 7B, 11B, 40B, 180B and RW",
    "stablelm": "StableLM",
    "starcoder2": "StarCoder2",
    "olmo2": "OLMo 2",
    "granite": "Granite 3",
    "internlm2": "InternLM2",
    "cohere": "Command R, R+, Aya 23 and Expanse",
    "cohere2": "Command R7B, Command A",
}
# The least that a config.json says, under every family's name for it.
SAMPLE: dict[str, Any] = {
    "vocab_size": 32,
    **dict.fromkeys(("hidden_size", "n_embd", "d_model"), 256),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("intermediate_size", "ffn_dim"), 512),
}
# What published models say and the defaults do not.
OWN = {
    "gpt_neo": {"attention_layers": ["global", "local"]},
    "qwen3_moe": {"norm_topk_prob": True},
    "granite": {"embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0},
}
HEAD = """# Models

What a model is called in its config.json (`model_type`) or in a GGUF file (`general.architecture`) says which family
reads it. Every family loads as safetensors; weights are used as they are stored, or quantized with `--quant int4` or
`int8`. Made by `python -m benchmarks.model_table`.

*CPU*: "native" are llmrt's own kernels. What they do not compute is named; torch runs such a model, several times
slower, and quantizing it only saves memory. They also need sizes, half a head's among them, that are multiples of 16:
`llmrt show MODEL` says what it will be. *GPU*: Triton's kernels, and torch for what is named.

| family | models | GGUF | CPU | GPU |
|---|---|---|---|---|
"""


def table() -> str:
    """The page."""
    return HEAD + "".join(_row(model_type) for model_type in FAMILIES)


def _row(model_type: str) -> str:
    fields = {"model_type": model_type, **SAMPLE, **OWN.get(model_type, {})}
    config = read_model_config(Fields(fields, "sample"))
    gguf = ", ".join(name for name, found in ARCHITECTURES.items() if _is(found.family, model_type)) or "no"
    cells = (f"`{model_type}`", MODELS[model_type], gguf, _cpu(config), _gpu(config))
    return f"| {' | '.join(cells)} |\n"


def _is(family: str, model_type: str) -> bool:
    """The architecture "llama" is Mistral and Mixtral too."""
    return family == model_type or (family == "llama" and model_type in ("mistral", "mixtral"))


def _cpu(config: ModelConfig) -> str:
    lacking = sorted(config.options - NATIVE_OPTIONS)
    return f"torch, for {', '.join(lacking)}" if lacking else "native"


def _gpu(config: ModelConfig) -> str:
    others = sorted(config.options - TRITON_OPTIONS)
    return f"Triton; torch for {', '.join(others)}" if others else "Triton"


if __name__ == "__main__":
    PAGE.write_text(table())
