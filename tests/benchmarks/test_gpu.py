"""The GPU's benchmark, on a pretended GPU: what is measured makes sense, and what fails is recorded."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.on_gpu import adapters, batches, compiled, engine, guesses, kernels, overlap, peer, sections
from llmrt.engine import build
from llmrt.engine.llm_engine import LLMEngine
from llmrt.model.config import ModelConfig, MoeConfig
from llmrt.model.kv_cache import KVCache
from tests.benchmarks.numbered_rows import numbers
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
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({ABSENT.split()!r}))\n"
        "import benchmarks.gpu, torch\n"
        "from llmrt.engine import load_model\n"
        "assert load_model._tuned(load_model.OpSpec('cuda', torch.bfloat16)) == []\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": ".:kernels"}, check=True)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines on the CPU whose runner is that of a GPU."""
    monkeypatch.setattr(build, "_late_device", lambda config, attention: ScriptedDevice(random.Random(0)))
    monkeypatch.setattr(engine, "DEVICE", "cpu")
    monkeypatch.setattr(engine, "DEPTH", 1024)
    monkeypatch.setattr(engine, "STREAMS", (1, 3))
    for name in ("copy_bandwidth", "matmul_rate"):
        monkeypatch.setattr(engine, name, lambda: 1e9)
    for name in ("reset_peak_memory_stats", "synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)


@pytest.mark.usefixtures("pretended")
def test_a_model_is_measured() -> None:
    rows = dict(engine.measured(TINY, "none"))
    for name in ("decode_1", "decode_3", "decode_at_32k"):
        row = rows[name]
        assert row["tokens_per_second"] > 0
        assert 0 < row["host_ms_per_step"] < row["step_ms"] * 2
        assert row["share_of_copy_bandwidth"] > 0
    assert rows["prefill_512"]["tokens_per_second"] > 0 < rows["prefill_512"]["share_of_matmul_rate"]


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
        dict(engine.measured(TINY, "none"))
    assert there == [0, 0]


@pytest.mark.usefixtures("pretended")
def test_adapters_guesses_and_overlap_are_compared_with_steps_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "PROMPT", 8)
    for module, tokens in ((adapters, 6), (guesses, 60)):
        monkeypatch.setattr(module, "TOKENS", tokens)
    monkeypatch.setattr(adapters, "ADAPTERS", 3)
    monkeypatch.setattr(adapters, "ROUNDS", 1)
    kept = dict(adapters.measured(TINY, "none"))["rank_64"]["kept"]
    assert kept["an_adapter_each"] > 0 < kept["one_adapter_for_all"]
    rows = dict(guesses.measured(TINY, "none"))
    assert set(rows["ratios"]) == {"guesses_that_come_true", "prompt_lookup"}
    assert rows["accepted"] == 1  # on the processor rows are rounded alike
    assert dict(overlap.measured(TINY, "none"))["same_tokens"]


@pytest.mark.usefixtures("pretended")
def test_kernels_are_compiled_by_measuring_without_keeping_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "SHARE", None)
    monkeypatch.setattr(compiled, "ProcessPoolExecutor", lambda count, context: ThreadPoolExecutor(count))
    assert list(dict(compiled.compiled({"tiny": (TINY, "none")}))) == ["tiny"]


@pytest.mark.usefixtures("pretended")
def test_an_answer_is_compared_with_itself_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "TOKENS", 6)
    rows = dict(batches.measured(TINY, "none"))
    assert rows["largest_difference"] < 1e-4
    assert rows["same_tokens"] == 6 or rows["gap_where_they_part"] < 1e-4


@pytest.mark.usefixtures("pretended")
def test_transformers_decodes_the_same_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "TOKENS", 8)
    assert dict(peer.measured(TINY))["tokens_per_second"] > 0


def test_of_tests_that_fail_the_others_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "test_good.py").write_text("def test_it(): pass\n")
    (tmp_path / "test_bad.py").write_text("def test_it(): assert 1 == 2\n")
    rows = kernels._pytest({name: [str(tmp_path / f"test_{name}.py")] for name in ("good", "bad")})
    assert {next(rows)[0], next(rows)[0]} == {"good", "bad"}
    with pytest.raises(RuntimeError, match="assert 1 == 2"):
        next(rows)


def test_a_section_that_fails_dies_or_hangs_is_recorded_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "SECTION_SECONDS", 3.0)
    running = sections.Sections(file := tmp_path / "gpu.json", 60)
    ends = {"fails": partial(int, "x"), "dies": partial(os._exit, 3), "hangs": partial(time.sleep, 60)}
    kinds = {name: partial(numbers, 1, end) for name, end in ends.items()}
    running.run({"first": partial(numbers, 2, dict), **kinds, "last": partial(numbers, 3, dict)})
    late = sections.Sections(None, -1)
    late.run({"third": partial(numbers, 1, dict)})
    outcomes = json.loads(file.read_text())["sections"]
    assert running.num_failed == 3
    assert outcomes["fails"]["error"] == "ValueError: invalid literal for int() with base 10: 'x'"
    assert outcomes["dies"]["error"] == "its process died"
    assert outcomes["hangs"]["error"] == "not ready in time"
    assert {name: list(outcome["rows"].values()) for name, outcome in outcomes.items()} == {
        "first": [0, 1],
        **{name: [0] for name in kinds},
        "last": [0, 1, 2],
    }
    assert "error" not in outcomes["first"] and "error" not in outcomes["last"]
    assert late.outcomes["third"]["skipped"] == "out of time"
