"""The same shape decoded by transformers, for the ratio within one run."""

from __future__ import annotations

import time

import torch

from benchmarks.on_gpu import models
from benchmarks.on_gpu.sections import Rows
from llmrt.model.config import ModelConfig

PROMPT, TOKENS = 512, 64


def mistral_bf16() -> Rows:
    yield from measured(models.MISTRAL)


def measured(shape: ModelConfig) -> Rows:
    """Tokens a second of one greedy request behind the first."""
    from transformers import LlamaConfig, LlamaForCausalLM

    models.release()
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
    )
    with torch.device(models.DEVICE):
        model = LlamaForCausalLM(config).to(torch.bfloat16).eval()
        prompt = torch.randint(0, shape.vocab_size, (1, PROMPT))
    _seconds(model, prompt, 4)
    first, whole = _seconds(model, prompt, 1), _seconds(model, prompt, 1 + TOKENS)
    yield "tokens_per_second", round(TOKENS / (whole - first), 1)


@torch.inference_mode()
def _seconds(model: torch.nn.Module, prompt: torch.Tensor, tokens: int) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    model.generate(prompt, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    torch.cuda.synchronize()
    return time.perf_counter() - start
