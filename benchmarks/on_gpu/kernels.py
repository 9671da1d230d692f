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
MODELS, PRETENDED = TESTS / "test_triton_models.py", TESTS / "test_gpu_benchmark.py"


def limits() -> Rows:
    """The device's own rates."""
    yield "copy_gb_per_second", round(copy_bandwidth() / 1e9)
    yield "bf16_tflops", round(matmul_rate() / 1e12)


def tests() -> Rows:
    """The tests that CI interprets, on the device."""
    yield from ended(shared(sorted({*TESTS.glob("test_*.py")} - {MODELS, PRETENDED}), 16))


def parity() -> Rows:
    """Tiny models beside transformers, and graphs beside single launches."""
    yield from ended(shared([MODELS], 12))


def shared(files: Sequence[Path], processes: int) -> dict[str, list[str]]:
    """Runs of a part of the tests each: most of their time goes into compiling."""
    command = pytest_command(*map(str, files))
    return {share: [*command, "--share", share] for share in (f"{i}/{processes}" for i in range(1, 1 + processes))}


def pytest_command(*arguments: str) -> list[str]:
    """A run of tests without the settings of this checkout."""
    return [sys.executable, "-m", "pytest", "-q", "--tb=short", "-o", "addopts=", "-W", "ignore", *arguments]


def ended(commands: Mapping[str, Sequence[str]]) -> Rows:
    """Whether each of the runs of tests passed, and its last line. Raises ``RuntimeError`` in the end if one failed."""
    failed: list[str] = []
    with ThreadPoolExecutor(len(commands)) as pool:
        names = {pool.submit(_run, command): name for name, command in commands.items()}
        for future in as_completed(names):
            lines, passed = future.result()
            failed += [] if passed else lines
            yield names[future], {"passed": passed, "summary": lines[-1] if lines else "it printed nothing"}
    if failed:
        raise RuntimeError("\n".join(failed))


def _run(command: Sequence[str]) -> tuple[list[str], bool]:
    """The last lines that it prints, and whether all tests passed."""
    environment = {**os.environ, "LLMRT_TRITON_DEVICE": "cuda"}
    environment.pop("TRITON_INTERPRET", None)
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
    """Products beside cuBLAS and the bandwidth."""
    from benchmarks.kernels import bench_triton_linear

    for row in bench_triton_linear.measure():
        yield f"{row.op}-{row.shape}-{row.weight}-{row.tokens}", asdict(row)
