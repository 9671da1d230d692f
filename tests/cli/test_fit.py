"""``llmrt fit``: counted as the engine counts, before anything is fetched."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from llmrt.config import EngineConfig
from llmrt.engine.hardware.gpus import Gpu
from llmrt.engine.hardware.limits import Limits
from llmrt.engine.loading.build import build_engine
from llmrt.engine.planning import fit as fitting
from llmrt.engine.planning import memory
from llmrt.engine.planning.fit import fit
from llmrt.model.checkpoints.headers import AssumedHeaders, open_headers
from tests.cli.conftest import CommandLine
from tests.engine.test_memory import MODEL

LIMITS = Limits(read_bytes_per_second=50e9, operations_per_second=2e12, source="a table")
CARD = Gpu(
    name="Card",
    driver="555",
    capability=(8, 9),
    total_bytes=24 * 10**9,
    free_bytes=20 * 10**9,
    read_bytes_per_second=1e12,
)


@pytest.fixture(autouse=True)
def known_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fitting, "processor_limits", lambda dtype: LIMITS)
    monkeypatch.setattr(fitting, "visible_gpus", list)
    monkeypatch.setenv("LLMRT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def read(llmrt: CommandLine, *arguments: str) -> dict[str, Any]:
    _, out, _ = llmrt("fit", *arguments, "--json")
    return json.loads(out)


def test_it_says_what_the_engine_does(llmrt: CommandLine, tiny: Path) -> None:
    said = read(llmrt, str(tiny), "--quant", "int4", "--ctx", "100")
    engine = build_engine(tiny, EngineConfig(quant="int4", context_length=100, device="cpu"))
    settled = engine.config
    assert said["fits"] and said["refusal"] is None
    assert [said[key] for key in ("quant", "dtype", "kv_dtype")] == [settled.quant, settled.dtype, settled.kv_dtype]
    assert said["context_length"] == engine.context_length == 100
    assert said["needed_bytes"] == said["weight_bytes"] + said["kv_bytes"] + said["workspace_bytes"]


def test_an_alias_is_known_without_a_network(llmrt: CommandLine) -> None:
    status, out, _ = llmrt("fit", "mistral-7b", "--quant", "int4", "--ctx", "4k")
    assert status == 0
    assert "HF_HUB_OFFLINE is set" in out and "weights          4.1 GB" in out
    status, _, err = llmrt("fit", "org/unknown")
    assert status == 1 and "nothing is known of org/unknown: the hub cannot be reached (HF_HUB_OFFLINE is set)" in err


def test_what_does_not_fit_ends_with_status_1_and_the_longest_context(
    llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 5_500_000_000)
    status, out, _ = llmrt("fit", "mistral-7b", "--quant", "int4", "--ctx", "32k")
    assert status == 1
    assert "fits             no. Not enough memory: 6.9 GB are needed" in out
    longest = read(llmrt, "mistral-7b", "--quant", "int4", "--ctx", "32k")["longest_context"]
    assert read(llmrt, "mistral-7b", "--quant", "int4", "--ctx", str(longest))["fits"]
    assert not read(llmrt, "mistral-7b", "--quant", "int4", "--ctx", str(longest + 64))["fits"]
    assert read(llmrt, "mistral-7b", "--quant", "int4")["context_length"] == longest  # the model's own is reduced


def test_settings_that_cannot_work_are_refused_as_by_the_engine(llmrt: CommandLine, tiny: Path) -> None:
    for arguments, message in (
        (("--quant", "int4", "--dtype", "bf16"), "--dtype bf16 does not go with --quant int4"),
        (("--ctx", "9m"), "--ctx is 9437184; this model takes"),
        (("--device", "cuda"), "--device is cuda, but the driver sees no GPU. Use cpu."),
        (("--device", "tpu"), "--device is 'tpu'; it must be one of"),
        (("--gpu-memory", "0.5"), "--gpu-memory is 0.5, but the model runs on the cpu"),
        (("--revision", "main"), "--revision main has no meaning for the local path"),
    ):
        status, _, err = llmrt("fit", str(tiny), *arguments)
        assert status == 1 and message in err


def test_the_forecast_is_bytes_and_operations_over_the_limits() -> None:
    """1.1 billion numbers of 16 bits: the table is not read, the head is, and prompts leave it out."""
    found = fit(AssumedHeaders(MODEL, "bf16"), EngineConfig(dtype="bf16", device="cpu"))
    assert found.forecast is not None
    table = MODEL.vocab_size * MODEL.hidden_size
    layers = 1_100_048_384 - 2 * table
    norms = (2 * MODEL.num_layers + 1) * MODEL.hidden_size  # which are fp32
    weights = 2 * (layers + table) + 2 * norms
    assert found.forecast.decode == pytest.approx(50e9 / weights)
    assert found.forecast.decode_at_context == pytest.approx(50e9 / (weights + 8192 * 2 * MODEL.kv_values_per_token()))
    assert found.forecast.prefill == pytest.approx(2e12 / (2 * layers))


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "visible_gpus", lambda: [CARD])
    monkeypatch.setattr("llmrt.engine.hardware.gpus.installed", lambda package: "2.11.0+cu128")
    monkeypatch.setattr("llmrt.engine.hardware.gpus.launcher_refusal", lambda: None)
    found = fit(AssumedHeaders(MODEL, "bf16"), EngineConfig())
    assert (found.device, found.dtype, found.where) == ("cuda", "bf16", "GPU memory")
    assert found.available_bytes == 18 * 10**9
    assert found.forecast is not None and found.forecast.prefill is None
    assert found.forecast.decode == pytest.approx(1e12 / (2 * (1_100_048_384 - MODEL.vocab_size * MODEL.hidden_size)))
    monkeypatch.setattr("llmrt.engine.hardware.gpus.installed", lambda package: "2.11.0+cpu")
    found = fit(AssumedHeaders(MODEL, "bf16"), EngineConfig())
    assert found.device == "cpu"
    assert found.notices == ("The GPU, Card, is not used: torch is installed for the cpu alone.",)


def test_larger_steps_of_a_gpu_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmrt.engine.hardware.gpus.installed", lambda package: "2.11.0+cu128")
    monkeypatch.setattr("llmrt.engine.hardware.gpus.launcher_refusal", lambda: None)
    needed: list[int] = []
    for capability in ((8, 9), (9, 0)):
        large = replace(CARD, capability=capability, total_bytes=80 * 10**9, free_bytes=78 * 10**9)
        monkeypatch.setattr(fitting, "visible_gpus", lambda large=large: [large])
        needed.append(fit(AssumedHeaders(MODEL, "bf16"), EngineConfig()).workspace_bytes)
    settled = EngineConfig(device="cuda", dtype="bf16", quant="none")
    larger = replace(settled, max_num_batched_tokens=2048)
    assert needed[1] - needed[0] == memory.step_bytes(MODEL, larger) - memory.step_bytes(MODEL, settled) > 0


def test_packed_weights_are_counted_as_they_lie(llmrt: CommandLine, tiny: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    assert llmrt("quantize", str(tiny), "--quant", "int8", "--output", str(packed))[0] == 0
    said = read(llmrt, str(packed))
    assert said["weight_bytes"] == (packed / "packed.safetensors").stat().st_size
    assert said["quant"] == "int8"
    assert open_headers(packed).config == open_headers(tiny).config


def test_no_torch_is_imported(tiny: Path) -> None:
    code = "import sys; from llmrt.cli.main import app; app(['fit', sys.argv[1]], standalone_mode=False)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('torch' in sys.modules)", str(tiny)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False"
