"""The kernels: their tests and those of tiny models on the device, and their rates beside its limits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.on_gpu.limits import copy_bandwidth, matmul_rate

TESTS = "tests/triton/interpreted"
MODELS = f"{TESTS}/test_triton_models.py"
TEST_SECONDS = 400
ROOT = Path(__file__).parents[2]


def limits() -> dict[str, Any]:
    """The device's own rates."""
    return {
        "copy_gb_per_second": round(copy_bandwidth() / 1e9),
        "bf16_tflops": round(matmul_rate() / 1e12),
    }


def tests() -> dict[str, Any]:
    """The tests that CI interprets, on the device."""
    return _pytest(TESTS, f"--ignore={MODELS}")


def parity() -> dict[str, Any]:
    """Tiny models beside transformers, and graphs beside single launches."""
    return _pytest(MODELS)


def _pytest(*arguments: str) -> dict[str, Any]:
    """Raises ``RuntimeError`` if a test fails."""
    environment = {**os.environ, "LLMRT_TRITON_DEVICE": "cuda"}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-m", "pytest", "--tb=short", "-o", "addopts=", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TEST_SECONDS, check=False
    )
    last = done.stdout.splitlines()[-60:]
    if done.returncode != 0:
        raise RuntimeError("\n".join([*last, *done.stderr.splitlines()[-5:]]))
    return {"summary": last[-1]}


def attention() -> Any:
    """Prefill beside SDPA, decode beside the bandwidth."""
    from benchmarks.kernels import bench_triton_attention

    return bench_triton_attention.measure()


def linear() -> Any:
    """Packed products beside cuBLAS and the bandwidth."""
    from benchmarks.kernels import bench_triton_linear

    return bench_triton_linear.measure()
