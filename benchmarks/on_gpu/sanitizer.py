"""NVIDIA's compute-sanitizer over tests of the kernels: memory that is not theirs, and races."""

from __future__ import annotations

import shutil

from benchmarks.on_gpu.kernels import TESTS, ended, pytest_command
from benchmarks.on_gpu.sections import Rows

PROGRAM = "compute-sanitizer"
TOOLS = ("memcheck", "racecheck")
# Few tokens and many, parts of keys and of columns, atomic additions.
CHOSEN = ("test_triton_linear.py", "test_triton_attention.py::test_parts_are_joined", "test_triton_sample.py")


def checked() -> Rows:
    """Whether each of its tools finds nothing. Raises ``RuntimeError`` in the end if one does, or it is not there."""
    if shutil.which(PROGRAM) is None:
        raise RuntimeError(f"{PROGRAM} is not installed")
    tests = pytest_command(*(str(TESTS / name) for name in CHOSEN))
    yield from ended({tool: [PROGRAM, "--tool", tool, "--error-exitcode", "9", *tests] for tool in TOOLS})
