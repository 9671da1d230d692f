"""The GPU's benchmark, on a pretended GPU: what is measured makes sense, and what fails is recorded."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.on_gpu import engine, sections
from llmrt.engine import build
from llmrt.engine.llm_engine import LLMEngine
from llmrt.model.config import ModelConfig, MoeConfig
from llmrt.model.kv_cache import KVCache
from tests.scripted_device import ScriptedDevice

ROOT = Path(__file__).parents[2]
# What the machines that have a GPU may lack.
ABSENT = (
    "msgspec gguf typer rich platformdirs huggingface_hub fastapi httpx2 jinja2 sentencepiece prompt_toolkit pydantic"
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


def test_a_section_that_fails_is_recorded_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> Any:
        raise ValueError("no such kernel")

    monkeypatch.setattr(sections, "machine", lambda: {"gpu": "Card"})
    file = tmp_path / "gpu.json"
    running = sections.Sections(file, 60)
    running.run("first", fails)
    running.run("second", lambda: [1, 2])
    late = sections.Sections(None, -1)
    late.run("third", lambda: 3)
    report = json.loads(file.read_text())
    assert report["machine"] == {"gpu": "Card"} and running.num_failed == 1
    assert report["sections"]["first"]["error"] == "ValueError: no such kernel"
    assert report["sections"]["second"]["rows"] == [1, 2]
    assert late._report["sections"]["third"]["skipped"] == "out of time"
