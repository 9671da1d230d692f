"""``llmrt doctor``: what is there is shown, and what makes models slow is named with what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version

import pytest
import torch

from llmrt.cli import checkup, doctor
from llmrt.engine.hardware import system_memory
from llmrt.engine.hardware.cgroup import MemoryLimit
from llmrt.engine.hardware.limits import Limits
from llmrt.ops import rules
from llmrt.ops.catalogue import choices
from llmrt.ops.types import OpSpec
from llmrt_kernels.cpu.library import load
from tests.cli.conftest import CommandLine
from tests.cli.test_fit import CARD

LIMITS = Limits(read_bytes_per_second=50e9, operations_per_second=2e12, source="a table")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "processor_limits", lambda dtype: LIMITS)
    monkeypatch.setattr(checkup, "visible_gpus", list)
    monkeypatch.delenv("LLMRT_KERNELS", raising=False)


@pytest.mark.skipif(load() is None, reason="the native kernels were not built")
def test_a_machine_in_order_ends_with_status_0(llmrt: CommandLine) -> None:
    status, out, _ = llmrt("doctor")
    library = load()
    assert status == 0 and library is not None
    assert f"torch {version('torch')}" in out and f"{library.isa}, the best" in out
    assert "reads 50.0 GB/s, 2.00 T int8" in out
    assert "all on the cpu by native kernels (embedding_packed" in out
    assert "verdict" in out


def test_memory_is_what_the_control_group_allows(llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_memory, "memory_limits", lambda: [MemoryLimit(2 * 10**9, 10**9)])
    assert "1.0 GB available of 2.0 GB, the limit of its control group" in llmrt("doctor")[1]
    monkeypatch.setattr(system_memory, "memory_limits", lambda: [MemoryLimit(10**18, 10**18)])  # version 1 without one
    assert "the limit of" not in llmrt("doctor")[1]


def test_speed_that_cannot_be_measured_is_said(llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "processor_limits", lambda dtype: None)
    shown = "not measured: too little memory" in llmrt("doctor")[1]
    assert shown == (load() is not None)


@pytest.mark.parametrize(("count", "words"), [(0, "0 models,"), (1, "1 model,"), (2, "2 models,")])
def test_models_are_counted_in_words_that_fit(
    count: int, words: str, llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = checkup.check_up()
    monkeypatch.setattr(doctor, "check_up", lambda: replace(found, store=replace(found.store, num_models=count)))
    assert f"({words} " in llmrt("doctor")[1]


def test_json_has_the_same(llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMRT_API_KEY", "sk-secret")
    monkeypatch.setenv("LLMRT_KERNELS", "reference")
    status, out, _ = llmrt("doctor", "--json")
    found = json.loads(out)
    assert status == 1
    assert found["variables"]["LLMRT_API_KEY"] == "(set)" and "sk-secret" not in out
    assert {choice["backend"] for choice in found["ops"]["quantized"]} == {"reference"}
    assert found["problems"][0]["remedy"] == "unset LLMRT_KERNELS"


def test_missing_kernels_are_a_problem_with_a_way_out(llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "load", lambda: None)
    status, out, _ = llmrt("doctor")
    assert status == 1
    assert "installed without a C++ compiler" in out and "apt install g++" in out
    assert "all on the cpu by torch (embedding, rms_norm" in out


def test_a_slower_instruction_set_is_a_problem(llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMRT_ISA", "generic")
    load.cache_clear()
    try:
        status, out, _ = llmrt("doctor")
    finally:
        monkeypatch.delenv("LLMRT_ISA")
        load.cache_clear()
    assert status == 1 and "unset LLMRT_ISA" in out


def test_a_gpu_that_torch_is_not_built_for_is_a_problem(llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "visible_gpus", lambda: [CARD])
    monkeypatch.setattr("llmrt.engine.hardware.gpus.installed", lambda package: "2.11.0+cpu")
    status, out, _ = llmrt("doctor")
    assert status == 1
    assert "the GPU, Card, is not used: torch is installed for the cpu alone; install a torch" in out
    old = replace(CARD, capability=(7, 5))
    monkeypatch.setattr(checkup, "visible_gpus", lambda: [old])
    monkeypatch.setattr("llmrt.engine.hardware.gpus.installed", lambda package: "2.11.0+cu128")
    assert "its compute capability is 7.5" in llmrt("doctor")[1]


def test_without_torch_it_says_so_and_imports_none() -> None:
    code = (
        "import sys; from llmrt.cli import checkup, main; from llmrt.engine.hardware import gpus\n"
        "checkup.installed = gpus.installed = lambda name: None\n"
        "sys.argv = ['llmrt', 'doctor']\n"
        "try: main.main()\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch is not installed, so no model runs; run: pip install torch" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 False"


def test_reasons_are_those_of_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmrt.ops.rules.find_spec", lambda name: None)
    by_name = {choice.op: choice for choice in choices(OpSpec("cuda", torch.bfloat16, group=64))}
    linear = by_name["linear_packed"]
    assert linear.backend == "reference"
    assert linear.passed_over == {"triton": rules.NOT_INSTALLED, "cpu": "it is for the cpu, not cuda"}
