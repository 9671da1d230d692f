"""Which format ``--quant auto`` takes for the aliases."""

from __future__ import annotations

import pytest

from llmrt.cli.describe import preset_config
from llmrt.config import EngineConfig
from llmrt.engine.planning.auto_quant import choose_quant
from llmrt.engine.planning.memory import budget_of
from llmrt.presets import load_presets


@pytest.mark.parametrize(
    ("alias", "gigabytes", "expected"),
    [
        ("smollm2-135m", 24, "int8"),
        ("smollm2-135m", 0.7, "int8"),
        ("smollm2-135m", 0.5, "int4"),
        ("llama-3.2-1b", 24, "int4"),
        ("mistral-7b", 24, "int4"),
        ("mixtral-8x7b", 24, "int4"),
    ],
)
def test_auto(alias: str, gigabytes: float, expected: str) -> None:
    model, config = preset_config(load_presets()[alias]), EngineConfig(device="cpu", dtype="fp32")
    quant, why = choose_quant(model, budget_of(model, config, int(gigabytes * 1e9)))
    assert quant == expected
    assert why.startswith(f"quant auto: {expected}, for ")
