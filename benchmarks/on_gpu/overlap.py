"""What launches that overlap gain where one request decodes, and whether its tokens are the same."""

from __future__ import annotations

import random
from statistics import median

import torch

from benchmarks.on_gpu.engine import MISTRAL, random_engine
from benchmarks.on_gpu.guesses import answered
from benchmarks.on_gpu.sections import Rows
from llmrt.model.config import ModelConfig
from llmrt_kernels.triton import overlap

PROMPT, ROUNDS = 512, 3


def mistral_int4() -> Rows:
    yield from measured(MISTRAL, "int4")


def mistral_bf16() -> Rows:
    yield from measured(MISTRAL, "none")


def measured(shape: ModelConfig, quant: str) -> Rows:
    """Tokens a second of launches that come apart and of those that overlap."""
    answers: list[list[int]] = []
    for name, wanted in (("apart", False), ("overlapping", True)):
        overlap.use(wanted=wanted)
        try:
            answer, rate = _answered(shape, quant)
        finally:
            overlap.use(wanted=False)
        answers.append(answer)
        yield f"{name}_tokens_per_second", round(rate, 1)
    yield "same_tokens", answers[0] == answers[1]


def _answered(shape: ModelConfig, quant: str) -> tuple[list[int], float]:
    """An answer, and the median of its rates behind the first time, which records the graph."""
    torch.manual_seed(0)  # for the weights
    engine, _ = random_engine(shape, quant)
    token_ids = random.Random(0).choices(range(engine.vocab_size), k=PROMPT)
    rounds = [answered(engine, token_ids, None) for _ in range(1 + ROUNDS)]
    return rounds[0][0], median(rate for _, rate in rounds[1:])
