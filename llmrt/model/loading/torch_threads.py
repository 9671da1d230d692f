"""Threads for torch while it makes weights; when they are there, the native kernels have them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from llmrt.ops.rules import native_library


@contextmanager
def torch_threads(count: int | None = None) -> Generator[None]:
    """``count`` of them, by default those of the kernels, which do nothing meanwhile, or torch's own."""
    before, library = torch.get_num_threads(), native_library()
    torch.set_num_threads(count or (before if library is None else library.threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)
