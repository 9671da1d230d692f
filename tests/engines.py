"""Driving an engine from a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from llmrt.config import EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading.build import build_engine
from llmrt.engine.request import Request, RequestOutput, SamplingParams
from llmrt.engine.runners.batch_builder import lay_out
from llmrt.engine.runners.cpu_runner import CpuRunner
from llmrt.model.forward_batch import ForwardBatch


def open_engine(folder: Path, **settings: Any) -> LLMEngine:
    """An fp32 engine with small blocks and small chunks, so that short prompts cross many borders."""
    defaults = {"dtype": "fp32", "block_size": 16, "max_num_batched_tokens": 32, "prefix_caching": False}
    return build_engine(folder, EngineConfig(**{**defaults, **settings}))


def on_reference(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> LLMEngine:
    """The same by the kernels that are the formulas in torch."""
    monkeypatch.setenv("LLMRT_KERNELS", "reference")
    engine = open_engine(folder, **settings, kv_dtype="fp32")
    monkeypatch.delenv("LLMRT_KERNELS")
    return engine


def typical_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """The median over positions: where two experts are almost equally likely, rounding may choose the other."""
    return float(((actual - expected).norm(dim=1) / expected.norm(dim=1)).median())


def prompt(length: int, seed: int = 0) -> list[int]:
    """Random tokens of any tiny model."""
    generator = torch.Generator().manual_seed(1000 * seed + length)
    return torch.randint(3, 128, (length,), generator=generator).tolist()


def run(engine: LLMEngine) -> dict[str, list[RequestOutput]]:
    """Step until nothing is left to compute or to save; every output, by request."""
    outputs: dict[str, list[RequestOutput]] = {}
    while engine.has_work:
        for output in engine.step():
            outputs.setdefault(output.request_id, []).append(output)
        engine.scheduler.check_integrity()
    return outputs


def answer(
    engine: LLMEngine, requests: Mapping[str, tuple[Sequence[int], SamplingParams]]
) -> dict[str, list[RequestOutput]]:
    """The outputs of requests that come at once."""
    for request_id, (token_ids, params) in requests.items():
        engine.add(request_id, token_ids, params)
    return run(engine)


def tokens(outputs: Sequence[RequestOutput]) -> list[int]:
    """What was generated, in order."""
    return [token for output in outputs for token in output.token_ids]


def greedy(engine: LLMEngine, token_ids: Sequence[int], count: int) -> list[int]:
    """The ``count`` likeliest tokens after the prompt."""
    engine.add("greedy", token_ids, SamplingParams(temperature=0, max_tokens=count))
    return tokens(run(engine)["greedy"])


def score(engine: LLMEngine, token_ids: Sequence[int], adapter: str | None = None) -> torch.Tensor:
    """The logits of every position, [len(token_ids), V] fp32, through the engine's own scheduler, cache and decoder.

    The engine must have prefix caching off, or positions found in the cache have no logits.
    """
    runner = engine._runner
    assert isinstance(runner, CpuRunner)
    params = SamplingParams(temperature=0, max_tokens=1)
    request = Request("score", list(token_ids), params, adapter=engine._adapter(adapter))
    scheduler = engine.scheduler
    scheduler.add(request)
    rows: list[torch.Tensor] = []
    with torch.inference_mode():
        while request.num_uncomputed_tokens:
            scheduled = scheduler.schedule()
            batch = lay_out(scheduled, scheduler.kv.block_size).batch()
            rows.append(runner._decoder(_all_rows(batch), runner._kv).float())
            scheduler.update(scheduled, {})
    scheduler.abort("score")
    return torch.cat(rows)


def shrink_pool(engine: LLMEngine) -> None:
    """Hold back free blocks until just one full context is left."""
    pool = engine.scheduler.kv._pool
    needed = engine.scheduler.kv.peak_blocks(engine.context_length, 32) + 2
    for block in list(pool._free)[needed:]:
        del pool._free[block]
    pool.check_integrity = lambda holders: None  # type: ignore[method-assign]


def _all_rows(batch: ForwardBatch) -> ForwardBatch:
    fields = {**batch.__dict__, "logits_index": torch.arange(len(batch.input_ids))}
    return ForwardBatch(**fields)
