"""The kernels: their tests and those of tiny models on the device, and their rates beside its limits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from benchmarks.on_gpu.limits import copy_bandwidth, matmul_rate
from benchmarks.on_gpu.sections import Rows

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests/triton/interpreted"
MODELS = TESTS / "test_triton_models.py"
FAMILIES = ("llama", "mistral", "mixtral", "gemma2", "qwen", "cohere or olmo2")
PROCESSES = 8  # side by side, for most of their time goes into compiling


def limits() -> Rows:
    """The device's own rates."""
    yield "copy_gb_per_second", round(copy_bandwidth() / 1e9)
    yield "bf16_tflops", round(matmul_rate() / 1e12)


def tests() -> Rows:
    """The tests that CI interprets, on the device."""
    files = sorted(set(TESTS.glob("test_*.py")) - {MODELS})
    yield from _pytest({file.stem: [str(file)] for file in files})


def parity() -> Rows:
    """Tiny models beside transformers, and graphs beside single launches."""
    others = f"not ({' or '.join(FAMILIES)})"
    yield from _pytest({name: [str(MODELS), "-k", name] for name in (*FAMILIES, others)})


def _pytest(runs: Mapping[str, Sequence[str]]) -> Rows:
    """The last line of each run. Raises ``RuntimeError`` in the end if a test failed."""
    failed: list[str] = []
    with ThreadPoolExecutor(PROCESSES) as pool:
        names = {pool.submit(_run_pytest, arguments): name for name, arguments in runs.items()}
        for future in as_completed(names):
            lines, passed = future.result()
            failed += [] if passed else lines
            yield names[future], lines[-1]
    if failed:
        raise RuntimeError("\n".join(failed))


def _run_pytest(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The last lines that it prints, and whether all tests passed."""
    environment = {**os.environ, "LLMRT_TRITON_DEVICE": "cuda"}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-o", "addopts=", "-W", "ignore", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [*done.stdout.splitlines()[-60:], *(done.stderr.splitlines()[-5:] if done.returncode else [])]
    return lines, done.returncode == 0


def attention() -> Rows:
    """Prefill beside SDPA, decode beside the bandwidth."""
    from benchmarks.kernels import bench_triton_attention

    for row in bench_triton_attention.measure():
        codes = "-codes" if row.codes else ""
        yield f"{row.op}-{row.cache}{codes}-{row.requests}x{row.keys}", asdict(row)


def linear() -> Rows:
    """Packed products beside cuBLAS and the bandwidth."""
    from benchmarks.kernels import bench_triton_linear

    for row in bench_triton_linear.measure():
        yield f"{row.op}-{row.shape}-int{row.bits}-{row.tokens}", asdict(row)
