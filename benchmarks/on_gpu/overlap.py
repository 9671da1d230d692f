"""What launches that overlap gain where one request decodes, and whether its tokens are the same."""

from __future__ import annotations

import random
from statistics import median

from benchmarks.on_gpu.guesses import answered
from benchmarks.on_gpu.models import MISTRAL, engine_of, record_anew
from benchmarks.on_gpu.sections import Rows
from llmrt.model.config import ModelConfig
from llmrt_kernels.triton import overlap

PROMPT, ROUNDS = 512, 3
WAYS = {"apart": False, "overlapping": True}


def mistral_int4() -> Rows:
    yield from measured(MISTRAL, "int4")


def mistral_bf16() -> Rows:
    yield from measured(MISTRAL, "none")


def measured(shape: ModelConfig, quant: str) -> Rows:
    """Tokens a second of launches that come apart and of those that overlap."""
    engine = engine_of(shape, quant)
    token_ids = random.Random(0).choices(range(engine.vocab_size), k=PROMPT)
    answers: list[list[int]] = []
    for name, wanted in WAYS.items():
        overlap.use(wanted=wanted)
        record_anew(engine)
        try:
            rounds = [answered(engine, token_ids, None) for _ in range(1 + ROUNDS)]  # the first one records the graph
        finally:
            overlap.use(wanted=False)
        answers.append(rounds[0][0])
        yield f"{name}_tokens_per_second", round(median(rate for _, rate in rounds[1:]), 1)
    record_anew(engine)
    yield "same_tokens", answers[0] == answers[1]
