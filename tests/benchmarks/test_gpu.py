"""The GPU's benchmark, on a pretended GPU: what is measured makes sense, and what fails is recorded."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity

from benchmarks import gpu
from benchmarks.kernels import bench_triton_attention, bench_triton_linear
from benchmarks.on_gpu import (
    adapters,
    bars,
    batches,
    compiled,
    engine,
    graphs,
    guesses,
    kernels,
    models,
    overlap,
    peer,
    profile,
    sections,
)
from llmrt.cli.measure import Workload
from llmrt.engine.loading import build
from llmrt.model.config import ModelConfig, MoeConfig
from tests.benchmarks.numbered_rows import numbers
from tests.benchmarks.parts import run_part
from tests.benchmarks.tiny_figures import TINY, tiny_figures
from tests.scripted_device import ScriptedDevice

ROOT = Path(__file__).parents[2]
# What the machines that have a GPU may lack.
ABSENT = (
    "msgspec gguf typer rich platformdirs huggingface_hub fastapi httpx2 jinja2 sentencepiece prompt_toolkit pydantic"
    " psutil xxhash pynvml llguidance peft anyio"
)


def test_it_imports_nothing_that_such_a_machine_may_lack() -> None:
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({ABSENT.split()!r}))\n"
        "import benchmarks.gpu, torch\n"
        "from llmrt.engine.loading import load_model\n"
        "assert load_model._tuned(load_model.OpSpec('cuda', torch.bfloat16)) == []\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": ".:kernels"}, check=True)


FIGURES: dict[Any, dict[str, Any]] = {
    bars: {"CHUNK": 128, "MOST": 3},
    models: {"DEVICE": "cpu", "CHUNK": 128, "STREAMS": (1, 2, 3), "MISTRAL": TINY},
    engine: {"CHUNK": 128, "STREAMS": (1, 2, 3), "DEPTH": 130, "SHORT": Workload(1, 8, depth=20)}
    | {"copy_bandwidth": lambda: 1e9, "matmul_rate": lambda: 1e9},
    compiled: {
        "MISTRAL": TINY,
        "SHARE": None,
        "KINDS": {"tiny": (TINY, "none")},
        "WORKLOADS": {"decode_1": Workload(1, 2, depth=20), "prefill": Workload(16, 1)},
    },
    batches: {"REQUESTS": 3, "PROMPT": 8, "TOKENS": 6},
    overlap: {"PROMPT": 8},
    guesses: {"TOKENS": 60},
    adapters: {"ADAPTERS": 3, "TOKENS": 6, "ROUNDS": 1},
    profile: {"STEPS": 2, "ProfilerActivity": SimpleNamespace(CUDA=ProfilerActivity.CPU)},
    peer: {"TOKENS": 8},
}
PROPERTIES = SimpleNamespace(name="pretended", major=9, minor=0, total_memory=1 << 30, multi_processor_count=4)
CUDA = {
    "get_device_properties": lambda index: PROPERTIES,
    **dict.fromkeys(("reset_peak_memory_stats", "synchronize", "empty_cache"), lambda: None),
    "memory_allocated": lambda: 0,
    "max_memory_allocated": lambda: 1 << 20,
}


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Engines on the CPU whose runner is that of a GPU, without quantized weights."""
    tiny_figures(FIGURES, monkeypatch)
    for module in (engine, batches, graphs, overlap, guesses, adapters, profile):
        monkeypatch.setattr(module, "MISTRAL", TINY, raising=False)
        monkeypatch.setattr(module, "engine_of", lambda shape, quant: models.engine_of(shape, "none"))
    monkeypatch.setattr(engine, "MIXTRAL", replace(TINY, moe=MoeConfig(4, 2, 64)))
    device = ScriptedDevice(random.Random(0))
    monkeypatch.setattr(build, "_step_device", lambda *_: device)
    monkeypatch.setattr(models, "CudaDevice", lambda graphs: device)
    for name, value in CUDA.items():
        monkeypatch.setattr(torch.cuda, name, value)
    yield
    models._held.clear()


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("part", ["engine", "more"])
def test_every_section_runs_to_its_end(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    report = run_part(part, tmp_path / "gpu.json", monkeypatch)
    assert [bar["bar"] for bar in report["bars"] if bar["figure"] is None] == []
    assert len(report["bars"]) == {"engine": 19, "more": 0}[part]
    assert {bar["figure"] for bar in report["bars"] if "bits" in bar["bar"]} <= {1.0}


def test_the_bars_are_about_what_is_measured() -> None:
    assert {bars.FEW, bars.SOME, bars.MANY} <= {*bench_triton_linear.TOKENS}
    assert {*bars.PROMPTS} <= {*bench_triton_attention.PROMPTS}
    assert (1, bars.DEEP) in bench_triton_attention.DECODE
    assert (models.STREAMS[0], models.STREAMS[-1]) == (bars.ONE, bars.MOST) and bars.CHUNK == models.CHUNK


@pytest.mark.parametrize(("part", "most"), [("kernels", 255), ("engine", 300)])
def test_a_part_is_planned_to_fit(part: str, most: float) -> None:
    planned = gpu.BEGINNING + sum(section.seconds for section in gpu.PARTS[part].values())
    assert planned <= gpu.SECONDS[part] == most


@pytest.mark.usefixtures("pretended")
def test_a_model_is_measured() -> None:
    rows = dict(engine.measured(TINY, "none"))
    for name in ("decode_1", "decode_2", "decode_3", "decode_at_32k"):
        row = rows[name]
        assert row["tokens_per_second"] > 0
        assert row["host_ms_per_step"] > 0 and row["step_ms"] > 0
        assert row["share_of_copy_bandwidth"] > 0
    assert rows["prefill_128"]["tokens_per_second"] > 0 < rows["prefill_128"]["share_of_matmul_rate"]


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize(("batch", "experts"), [(1, 2.0), (64, 8.0)])
def test_a_step_reads_the_experts_that_its_tokens_are_sent_to(batch: int, experts: float) -> None:
    shape = ModelConfig(**{**vars(TINY), "moe": MoeConfig(8, 2, TINY.intermediate_size)})
    made = models.engine_of(shape, "none")
    workload = engine.Workload(0, 0, batch=batch)
    expert = 3 * 64 * 64 * 4
    dense = engine.bytes_of_step(made, TINY, workload)
    assert engine.bytes_of_step(made, shape, workload) == pytest.approx(dense + (experts - 1) * expert, rel=0.01)


@pytest.mark.usefixtures("pretended")
def test_a_model_is_held_until_another_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes the memory that it finds."""
    there: list[int] = []
    first = weakref.ref(models.engine_of(TINY, "none")._runner._kv)
    assert first() is models.engine_of(TINY, "none")._runner._kv
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: there.append(first() is not None))
    models.engine_of(TINY, "none", block_size=16)
    assert there == [False]


@pytest.mark.usefixtures("pretended")
def test_adapters_guesses_and_overlap_are_compared_with_steps_without() -> None:
    kept = dict(adapters.measured(TINY, "none"))["rank_64"]["kept"]
    assert kept["an_adapter_each"] > 0 < kept["one_adapter_for_all"]
    rows = dict(guesses.measured(TINY, "none"))
    assert set(rows["ratios"]) == {"guesses_that_come_true", "prompt_lookup"}
    assert rows["accepted"] == 1  # on the processor rows are rounded alike
    assert dict(overlap.measured(TINY, "none"))["same_tokens"]


@pytest.mark.usefixtures("pretended")
def test_an_answer_is_compared_with_itself_in_a_batch() -> None:
    rows = dict(batches.measured(TINY, "none"))
    assert rows["largest_difference"] < 1e-4
    assert rows["same_tokens"] == 6 or rows["gap_where_they_part"] < 1e-4


def test_of_tests_that_fail_the_others_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "test_good.py").write_text("def test_it(): pass\n")
    (tmp_path / "test_bad.py").write_text("def test_it(): assert 1 == 2\n")
    names = ("good", "bad")
    rows = kernels.ended({name: kernels.pytest_command(str(tmp_path / f"test_{name}.py")) for name in names})
    outcomes = dict((next(rows), next(rows)))
    assert {name: outcome["passed"] for name, outcome in outcomes.items()} == {"good": True, "bad": False}
    with pytest.raises(RuntimeError, match="assert 1 == 2"):
        next(rows)


def test_a_section_that_fails_dies_or_hangs_is_recorded_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "SLACK", 1.0)
    running = sections.Sections(file := tmp_path / "gpu.json", 600)
    ends = {"fails": partial(int, "x"), "dies": partial(os._exit, 3), "hangs": partial(time.sleep, 60)}
    kinds = {name: partial(numbers, 1, end) for name, end in ends.items()}
    runs = {"first": partial(numbers, 2, dict), **kinds, "last": partial(numbers, 3, dict)}
    running.run({name: sections.Section(run, 1.0) for name, run in runs.items()})
    late = sections.Sections(None, -1)
    late.run({"third": sections.Section(partial(numbers, 1, dict), 1.0)})
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
