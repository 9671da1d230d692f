"""Whether an answer depends on what is computed beside it: one request alone, and the same one among eight."""

from __future__ import annotations

import random

from benchmarks.on_gpu.engine import MISTRAL, random_engine
from benchmarks.on_gpu.sections import Rows
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams, TokenLogprob
from llmrt.model.config import ModelConfig

REQUESTS, PROMPT, TOKENS = 8, 64, 64


def mistral_int4() -> Rows:
    yield from measured(MISTRAL, "int4")


def mistral_bf16() -> Rows:
    yield from measured(MISTRAL, "none")


def measured(shape: ModelConfig, quant: str) -> Rows:
    """Up to where they part, how far log-probabilities differ; there, how much likelier the first token was."""
    engine, _ = random_engine(shape, quant)
    draw = random.Random(0)
    prompts = [draw.choices(range(engine.vocab_size), k=PROMPT) for _ in range(REQUESTS)]
    alone, beside = _first_answer(engine, prompts[:1]), _first_answer(engine, prompts)
    pairs = list(zip(alone, beside, strict=True))
    same = next((i for i, (one, other) in enumerate(pairs) if one.token_id != other.token_id), len(pairs))
    yield "same_tokens", same
    yield "largest_difference", max((abs(one.logprob - other.logprob) for one, other in pairs[:same]), default=0.0)
    yield "gap_where_they_part", None if same == len(pairs) else alone[same].top[0][1] - alone[same].top[1][1]


def _first_answer(engine: LLMEngine, prompts: list[list[int]]) -> list[TokenLogprob]:
    for i, token_ids in enumerate(prompts):
        engine.add(str(i), token_ids, SamplingParams(temperature=0, max_tokens=TOKENS, logprobs=2))
    answer: list[TokenLogprob] = []
    while engine.has_work:
        answer += [each for output in engine.step() if output.request_id == "0" for each in output.logprobs or ()]
    return answer
