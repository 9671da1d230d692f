"""What fits into a given memory: a context that is asked for is held or refused, never cut in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from llmrt.config import EngineConfig
from llmrt.engine.hardware import limits
from llmrt.engine.hardware.system_memory import allocation, available_memory
from llmrt.engine.hardware.threads import usable_cores
from llmrt.engine.planning import memory
from llmrt.engine.planning.memory import (
    IMPORTED_BYTES,
    MemoryPlan,
    MemoryPlanner,
    budget_of,
    kv_bytes_per_token,
    usable_memory,
)
from llmrt.errors import ConfigError, MemoryFitError
from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.model.config import ModelConfig

MODEL = ModelConfig(
    family="llama",
    vocab_size=32000,
    hidden_size=2048,
    num_layers=22,
    num_heads=32,
    num_kv_heads=4,
    head_dim=64,
    intermediate_size=5632,
    norm_eps=1e-5,
    context_length=8192,
)
WEIGHTS = 2 * num_parameters(MODEL)
TOKEN = 2 * MODEL.kv_values_per_token()
CONFIG = EngineConfig(device="cpu", dtype="bf16", kv_dtype="bf16")
WORKSPACE = budget_of(MODEL, CONFIG, 0).workspace


def plan(available: int, model: ModelConfig = MODEL, **settings: Any) -> MemoryPlan:
    config = replace(CONFIG, **settings)
    return MemoryPlanner(model, config, WEIGHTS, budget_of(model, config, available)).plan()


def test_a_cache_of_bytes_has_a_scale_for_each_token_and_head() -> None:
    heads = 2 * MODEL.num_layers * MODEL.num_kv_heads
    assert kv_bytes_per_token(MODEL, "fp8") == kv_bytes_per_token(MODEL, "int8") == heads * (MODEL.head_dim + 4)
    assert kv_bytes_per_token(MODEL, "bf16") == heads * 2 * MODEL.head_dim


def test_the_shape_is_that_of_tinyllama() -> None:
    assert num_parameters(MODEL) == 1_100_048_384


def test_with_room_the_context_is_the_models_and_every_request_has_its_own() -> None:
    made = plan(10**12)
    assert made == MemoryPlan(8192, 1 + 8 * 128)


def test_with_less_room_the_context_stays_and_requests_share() -> None:
    made = plan(WEIGHTS + WORKSPACE + TOKEN * 64 * 300)
    assert made.context_length == 8192
    assert 1 + 128 <= made.num_blocks <= 300
    assert not made.notices


def test_with_little_room_the_context_is_reduced_and_that_is_said() -> None:
    made = plan(WEIGHTS + WORKSPACE + TOKEN * 4000)
    assert 3800 <= made.context_length <= 4000
    assert f"reduced from 8192 to {made.context_length}" in made.notices[0]
    assert made.num_blocks * 64 <= 4000


def test_a_context_that_was_asked_for_is_never_reduced() -> None:
    with pytest.raises(
        MemoryFitError, match=r"Not enough memory: 2\.7 GB are needed.*2\.6 GB are available.*--ctx 3\d\d\d"
    ):
        plan(WEIGHTS + WORKSPACE + TOKEN * 4000, context_length=8192)


def test_without_room_for_the_weights_the_message_says_so() -> None:
    with pytest.raises(
        MemoryFitError, match=r"1\.0 GB are available. Use .*, --quant or --dtype, or lower --max-num-seqs\."
    ):
        plan(10**9)


def test_a_context_beyond_the_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="--ctx is 9000; this model takes 2 to 8192 tokens"):
        plan(10**12, context_length=9000)


def test_a_sliding_window_needs_pages_for_the_window_alone() -> None:
    model = replace(MODEL, sliding_window=1024)
    made = plan(WEIGHTS + WORKSPACE + TOKEN * 64 * 40, model)
    assert made.context_length == 8192
    assert made.num_blocks <= 40


def test_a_workspace_is_no_less_than_what_was_measured() -> None:
    """Anonymous memory that a server came to with eight requests that had grammars, and pages of libraries, without
    weights and cache: of SmolLM2 135M and of 1.1B in int4."""
    small = replace(MODEL, vocab_size=49152, hidden_size=576, num_heads=9, num_kv_heads=3, intermediate_size=1536)
    large = replace(MODEL, vocab_size=49152)
    config = replace(CONFIG, dtype="fp32")
    assert 289 * 10**6 <= budget_of(small, config, 0).workspace < 380 * 10**6
    assert 255 * 10**6 <= budget_of(large, config, 0).workspace < 420 * 10**6


def test_what_an_engine_imports_is_counted_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10**9)
    assert usable_memory(None, gpu=None) == 10**9
    assert usable_memory(None, gpu=None, to_import=IMPORTED_BYTES) == 10**9 - IMPORTED_BYTES
    monkeypatch.setattr(memory, "available_memory", lambda: 10**8)
    assert usable_memory(None, gpu=None, to_import=IMPORTED_BYTES) == 0


def test_with_too_little_memory_no_bandwidth_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "available_memory", lambda: 16 * 10**6)
    assert limits.processor_limits("int8") is None


def test_the_machine_is_read() -> None:
    assert available_memory() > 0
    assert usable_cores() >= 1


def test_memory_that_is_refused_all_the_same_is_one_line() -> None:
    with pytest.raises(MemoryFitError, match=r"^The system refused memory .* needs less\.$"), allocation():
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(MemoryFitError, match="--ctx"), allocation():
        bytearray(1 << 62)
    with pytest.raises(RuntimeError, match="a fault of ours"), allocation():
        raise RuntimeError("a fault of ours")
