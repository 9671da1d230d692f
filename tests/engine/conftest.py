"""A model of each kind of attention and of MLP."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import make_model, save_model

FAMILIES = {
    "llama": ("llama", {}),
    "mistral": ("mistral", {"sliding_window": 16}),
    "mixtral": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random one, for each in turn."""
    family, fields = FAMILIES[request.param]
    return save_model(make_model(family, **fields), tmp_path_factory.mktemp(request.param))
