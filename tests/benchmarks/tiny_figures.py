"""The GPU's benchmark with shapes that a CPU computes in a moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.on_gpu import limits
from llmrt.model.config import ModelConfig

TINY = ModelConfig(
    family="llama",
    vocab_size=64,
    hidden_size=64,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    head_dim=32,
    intermediate_size=64,
    norm_eps=1e-5,
    context_length=1024,
)


def tiny_figures(figures: Mapping[Any, Mapping[str, Any]], patch: pytest.MonkeyPatch) -> None:
    """Give modules those ``figures`` in the place of their own."""
    for module, values in figures.items():
        for name, value in values.items():
            patch.setattr(module, name, value)
    for measured in (limits.copy_bandwidth, limits.matmul_rate):
        measured.cache_clear()
