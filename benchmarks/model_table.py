"""docs/models.md: which families there are. Run it after a change to them:

python -m benchmarks.model_table
"""

from __future__ import annotations

from pathlib import Path

from llmrt.model.families.gguf_names import ARCHITECTURES
from llmrt.model.families.registry import FAMILIES

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
HEAD = """# Models

What a model is called in its config.json (`model_type`) or in a GGUF file (`general.architecture`) says which family
reads it. Every family loads as safetensors; weights are used as they are stored, or quantized with `--quant int4` or
`int8`. Made by `python -m benchmarks.model_table`.

llmrt's own kernels compute all of them, on a CPU natively and on a GPU with Triton. On a CPU they need sizes, half a
head's among them, that are multiples of 16. Else torch runs the model, several times slower, and quantizing it only
saves memory: `llmrt show MODEL` says what it will be.

| family | models | GGUF |
|---|---|---|
"""


def table() -> str:
    """The page."""
    return HEAD + "".join(_row(model_type) for model_type in FAMILIES)


def _row(model_type: str) -> str:
    gguf = ", ".join(name for name, found in ARCHITECTURES.items() if _is(found.family, model_type)) or "no"
    return f"| `{model_type}` | {MODELS[model_type]} | {gguf} |\n"


def _is(family: str, model_type: str) -> bool:
    """The architecture "llama" is Mistral and Mixtral too."""
    return family == model_type or (family == "llama" and model_type in ("mistral", "mixtral"))


if __name__ == "__main__":
    PAGE.write_text(table())
