"""A plugin for pytest: the native library is the one in the folder ``LLMRT_NATIVE``, as `make sanitize` builds it."""

from __future__ import annotations

import os
from pathlib import Path

import llmrt_kernels.cpu
from llmrt_kernels.cpu.library import load

FOLDER = Path(os.environ["LLMRT_NATIVE"]).resolve()

llmrt_kernels.cpu.__path__.insert(0, str(FOLDER))
library = load()
assert library is not None and library.path.parent == FOLDER, f"no library in {FOLDER}"
