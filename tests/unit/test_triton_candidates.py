"""The GPU's kernels as candidates: who is told what, and that nobody pays for Triton who does not use it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llmrt.errors import ConfigError
from llmrt.ops.registry import choose
from llmrt.ops.rules import NOT_INSTALLED, Case, byte_cache_refusal, native_library
from llmrt.ops.table import LINEAR, LINEAR_PACKED, QUANTIZE, RMS_NORM
from llmrt.ops.triton import refusal
from llmrt.ops.types import OpSpec

ROOT = Path(__file__).parents[2]
CPU, GPU = OpSpec("cpu", torch.float32), OpSpec("cuda", torch.bfloat16)


def test_a_gpu_is_served_and_a_cpu_only_by_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmrt.ops.rules.find_spec", lambda name: name)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert choose(RMS_NORM, GPU).backend == "triton"
    assert choose(RMS_NORM, CPU).backend == "reference"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert choose(RMS_NORM, CPU).backend == "triton"


def test_an_fp8_cache_is_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmrt.ops.rules.find_spec", lambda name: name)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert byte_cache_refusal(Case("cuda", "bf16"), "fp8", 64) is None
    assert byte_cache_refusal(Case("cuda", "bf16"), "fp8", 24) == "its blocks hold 24 tokens, no multiple of 16"
    assert byte_cache_refusal(Case("cpu", "fp32", in_blocks=True), "fp8", 64) == "it is for a GPU, not the cpu"
    monkeypatch.setenv("LLMRT_KERNELS", "reference")
    assert byte_cache_refusal(Case("cuda", "bf16"), "fp8", 64) == "LLMRT_KERNELS is reference"


def test_weights_are_quantized_where_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Natively on a CPU even in the interpreter, which takes seconds for what the library does in none."""
    monkeypatch.setattr("llmrt.ops.rules.find_spec", lambda name: name)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert choose(QUANTIZE, replace(GPU, dtype=torch.float32, group=64)).backend == "triton"
    assert choose(QUANTIZE, replace(CPU, group=64)).backend == ("reference" if native_library() is None else "cpu")


def test_without_triton_the_reason_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmrt.ops.rules.find_spec", lambda name: None)
    assert refusal(GPU) == NOT_INSTALLED
    monkeypatch.setenv("LLMRT_KERNELS", "triton")
    with pytest.raises(ConfigError, match=r"llmrt\[gpu\]"):
        choose(RMS_NORM, GPU)


@pytest.mark.skipif(native_library() is None, reason="the native kernels were not built")
def test_a_backend_is_forced_on_the_ops_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packed layer takes the place of a dense one, which the native kernels have no product for."""
    monkeypatch.setenv("LLMRT_KERNELS", "cpu")
    packed = OpSpec("cpu", torch.float32, group=64)
    assert (choose(LINEAR, packed).backend, choose(LINEAR_PACKED, packed).backend) == ("reference", "cpu")
    with pytest.raises(ConfigError, match="LLMRT_KERNELS=cpu"):
        choose(LINEAR_PACKED, OpSpec("cpu", torch.float16, group=64))


def test_triton_is_not_imported_before_a_kernel_is_chosen() -> None:
    ops = [f"llmrt.ops.{path.stem}" for path in (ROOT / "llmrt" / "ops").glob("*.py")]
    code = f"import importlib, sys\nfor name in {ops!r}: importlib.import_module(name)\nprint('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
