"""The GPU's benchmark, on a pretended GPU: what is measured makes sense, and what fails is recorded."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.on_gpu import adapters, engine, guesses, sections
from llmrt.engine import build
from llmrt.engine.llm_engine import LLMEngine
from llmrt.model.config import ModelConfig, MoeConfig
from llmrt.model.kv_cache import KVCache
from tests.scripted_device import ScriptedDevice

ROOT = Path(__file__).parents[2]
# What the machines that have a GPU may lack.
ABSENT = (
    "msgspec gguf typer rich platformdirs huggingface_hub fastapi httpx2 jinja2 sentencepiece prompt_toolkit pydantic"
    " psutil xxhash pynvml llguidance peft anyio"
)

TINY = ModelConfig(
    family="llama",
    vocab_size=64,
    hidden_size=64,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    head_dim=32,
    intermediate_size=64,
    norm_eps=1e-5,
    context_length=4096,
)


def test_it_imports_nothing_that_such_a_machine_may_lack() -> None:
    code = (
        "import sys, importlib.abc\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name.split('.')[0] in {ABSENT.split()!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import benchmarks.gpu\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": ".:kernels"}, check=True)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines on the CPU whose runner is that of a GPU."""
    monkeypatch.setattr(build, "_late_device", lambda config, attention: ScriptedDevice(random.Random(0)))
    monkeypatch.setattr(engine, "DEVICE", "cpu")
    monkeypatch.setattr(engine, "DEPTH", 1024)
    monkeypatch.setattr(engine, "STREAMS", (1, 3))
    monkeypatch.setattr(engine, "copy_bandwidth", lambda: 1e9)
    for name in ("reset_peak_memory_stats", "synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)


@pytest.mark.usefixtures("pretended")
def test_a_model_is_measured() -> None:
    rows = engine.measured(TINY, "none")
    for name in ("decode_1", "decode_3", "decode_at_32k"):
        row = rows[name]
        assert row["tokens_per_second"] > 0
        assert 0 < row["host_ms_per_step"] < row["step_ms"] * 2
        assert row["share_of_copy_bandwidth"] > 0
    assert rows["prefill_512_tokens_per_second"] > 0


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize(("batch", "experts"), [(1, 2.0), (64, 8.0)])
def test_a_step_reads_the_experts_that_its_tokens_are_sent_to(batch: int, experts: float) -> None:
    shape = ModelConfig(**{**vars(TINY), "moe": MoeConfig(8, 2, TINY.intermediate_size)})
    made, _ = engine.random_engine(shape, "none")
    workload = engine.Workload(0, 0, batch=batch)
    expert = 3 * 64 * 64 * 4
    dense = engine.bytes_of_step(made, TINY, workload)
    assert engine.bytes_of_step(made, shape, workload) == pytest.approx(dense + (experts - 1) * expert, rel=0.01)


@pytest.mark.usefixtures("pretended")
def test_a_model_is_gone_when_the_next_one_asks_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes what it finds."""
    caches: list[weakref.ref[KVCache]] = []
    there: list[int] = []
    assemble = engine.assemble_engine

    def watched(*args: Any) -> LLMEngine:
        made = assemble(*args)
        caches.append(weakref.ref(made._runner._kv))
        return made

    monkeypatch.setattr(engine, "assemble_engine", watched)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: there.append(sum(cache() is not None for cache in caches)))
    for _ in range(2):
        engine.measured(TINY, "none")
    assert there == [0, 0]


@pytest.mark.usefixtures("pretended")
def test_adapters_and_guesses_are_compared_with_steps_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, tokens in ((adapters, 6), (guesses, 60)):
        monkeypatch.setattr(module, "TOKENS", tokens)
    monkeypatch.setattr(adapters, "ADAPTERS", 3)
    monkeypatch.setattr(adapters, "ROUNDS", 1)
    kept = adapters.measured(TINY, "none")["rank_64"]["kept"]
    assert kept["an_adapter_each"] > 0 < kept["one_adapter_for_all"]
    rows = guesses.measured(TINY, "none")
    assert set(rows["ratios"]) == {"guesses_that_come_true", "prompt_lookup"}
    assert rows["accepted"] == 1  # on the processor rows are rounded alike


def test_a_section_that_fails_dies_or_hangs_is_recorded_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "SECTION_SECONDS", 3.0)
    running = sections.Sections(file := tmp_path / "gpu.json", 60)
    kinds = {"fails": partial(int, "x"), "dies": partial(os._exit, 3), "hangs": partial(time.sleep, 60)}
    running.run({"first": partial(list, range(2)), **kinds, "last": partial(list, range(3))})
    late = sections.Sections(None, -1)
    late.run({"third": dict})
    outcomes = json.loads(file.read_text())["sections"]
    assert running.num_failed == 3
    assert outcomes["fails"]["error"] == "ValueError: invalid literal for int() with base 10: 'x'"
    assert outcomes["dies"]["error"] == "its process died"
    assert outcomes["hangs"]["error"] == "not ready after 3 seconds"
    assert (outcomes["first"]["rows"], outcomes["last"]["rows"]) == ([0, 1], [0, 1, 2])
    assert late.outcomes["third"]["skipped"] == "out of time"
