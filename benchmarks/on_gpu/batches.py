"""Whether an answer depends on what is computed beside it: one request alone, and the same one among eight."""

from __future__ import annotations

import random
from collections.abc import Sequence

from benchmarks.on_gpu.models import MISTRAL, engine_of
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
    engine = engine_of(shape, quant)
    prompts = prompts_for(engine)
    alone, beside = (all_answers(engine, asked)["0"] for asked in (prompts[:1], prompts))
    pairs = list(zip(alone, beside, strict=True))
    same = next((i for i, (one, other) in enumerate(pairs) if one.token_id != other.token_id), len(pairs))
    yield "same_tokens", same
    yield "largest_difference", max((abs(one.logprob - other.logprob) for one, other in pairs[:same]), default=0.0)
    yield "gap_where_they_part", 0.0 if same == len(pairs) else alone[same].top[0][1] - alone[same].top[1][1]


def prompts_for(engine: LLMEngine) -> list[list[int]]:
    """Of random tokens."""
    draw = random.Random(0)
    return [draw.choices(range(engine.vocab_size), k=PROMPT) for _ in range(REQUESTS)]


def all_answers(engine: LLMEngine, prompts: Sequence[list[int]]) -> dict[str, list[TokenLogprob]]:
    """Greedy answers to all at once, by the number of the prompt."""
    answers = {str(i): list[TokenLogprob]() for i in range(len(prompts))}
    for name, token_ids in zip(answers, prompts, strict=True):
        engine.add(name, token_ids, SamplingParams(temperature=0, max_tokens=TOKENS, logprobs=2))
    while engine.has_work:
        for output in engine.step():
            answers[output.request_id] += output.logprobs or ()
    return answers
