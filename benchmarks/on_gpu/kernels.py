"""The kernels: their tests and those of tiny models on the device, and their rates beside its limits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.on_gpu.limits import copy_bandwidth, matmul_rate

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests/triton/interpreted"
MODELS = TESTS / "test_triton_models.py"
FAMILIES = ("llama", "mistral", "mixtral")
PROCESSES = 8  # side by side, for most of their time goes into compiling


def limits() -> dict[str, Any]:
    """The device's own rates."""
    return {
        "copy_gb_per_second": round(copy_bandwidth() / 1e9),
        "bf16_tflops": round(matmul_rate() / 1e12),
    }


def tests() -> dict[str, Any]:
    """The tests that CI interprets, on the device."""
    files = sorted(set(TESTS.glob("test_*.py")) - {MODELS})
    return _pytest({file.stem: [str(file)] for file in files})


def parity() -> dict[str, Any]:
    """Tiny models beside transformers, and graphs beside single launches."""
    others = " and ".join(f"not {family}" for family in FAMILIES)
    return _pytest({name: [str(MODELS), "-k", name] for name in FAMILIES} | {"others": [str(MODELS), "-k", others]})


def _pytest(runs: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The last line of each run. Raises ``RuntimeError`` if a test fails."""
    with ThreadPoolExecutor(PROCESSES) as pool:
        done = dict(zip(runs, pool.map(_run_pytest, runs.values()), strict=True))
    failed = [lines for lines, passed in done.values() if not passed]
    if failed:
        raise RuntimeError("\n".join(line for lines in failed for line in lines))
    return {name: lines[-1] for name, (lines, _) in done.items()}


def _run_pytest(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The last lines that it prints, and whether all tests passed."""
    environment = {**os.environ, "LLMRT_TRITON_DEVICE": "cuda"}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-o", "addopts=", "-W", "ignore", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [*done.stdout.splitlines()[-60:], *(done.stderr.splitlines()[-5:] if done.returncode else [])]
    return lines, done.returncode == 0


def attention() -> Any:
    """Prefill beside SDPA, decode beside the bandwidth."""
    from benchmarks.kernels import bench_triton_attention

    return bench_triton_attention.measure()


def linear() -> Any:
    """Packed products beside cuBLAS and the bandwidth."""
    from benchmarks.kernels import bench_triton_linear

    return bench_triton_linear.measure()
