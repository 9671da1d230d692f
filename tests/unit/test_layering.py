"""Imports go one way, and what must start in an instant imports no torch. Read from the source, nothing is run."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# From the top down: a layer may import those right of it, and the leaves.
LAYERS = ["cli", "library", "server", "engine", "model", "quant", "ops"]
# Of the engine's packages a lower one is free of those above it, too.
ENGINE = ["conversion", "loading", "speculation", "runners", "sampling", "planning", "kv", "hardware"]
LEAVES = {"config", "errors", "presets", "remote_server", "text", "hub", "selftest"}
# Files of the layers that must stay free of torch; the leaves are as a whole.
TORCH_FREE = [
    "llmrt/cli/main.py",
    "llmrt/cli/models.py",
    "llmrt/cli/describe.py",
    "llmrt/cli/describe_packed.py",
    "llmrt/cli/fit.py",
    "llmrt/cli/headers.py",
    "llmrt/cli/remote.py",
    "llmrt/cli/model_tables.py",
    "llmrt/cli/tables.py",
    "llmrt/library/*.py",
    "llmrt/server/**/*.py",
    "llmrt/engine/adapters.py",
    "llmrt/engine/messages.py",
    "llmrt/engine/stats.py",
    "llmrt/engine/request.py",
    "llmrt/engine/scheduler.py",
    "llmrt/engine/llm_engine.py",
    "llmrt/engine/sampling/grammars.py",
    "llmrt/engine/sampling/constraint.py",
    "llmrt/engine/interleave.py",
    "llmrt/engine/pace.py",
    "llmrt/engine/recent_prompts.py",
    "llmrt/engine/run_ahead.py",
    "llmrt/engine/runners/runner.py",
    "llmrt/engine/planning/auto_quant.py",
    "llmrt/engine/planning/fit.py",
    "llmrt/cli/selftest.py",
    "llmrt/engine/planning/memory.py",
    "llmrt/engine/planning/settle.py",
    "llmrt/engine/hardware/*.py",
    "llmrt/engine/loading/tuned_file.py",
    "llmrt/engine/loading/read_ahead.py",
    "llmrt/engine/kv/*.py",
    "llmrt/engine/speculation/*.py",
    "llmrt/model/config.py",
    "llmrt/model/config_files.py",
    "llmrt/model/fields.py",
    "llmrt/model/headers.py",
    "llmrt/model/*_headers.py",
    "llmrt/model/packed_header.py",
    "llmrt/model/peft_config.py",
    "llmrt/model/quantized/matrix.py",
    "llmrt/model/quantized/*_headers.py",
    "llmrt/model/source_identity.py",
    "llmrt/model/tensor_slots.py",
    "llmrt/model/weight_bytes.py",
    "llmrt/model/families/*.py",
    "llmrt/ops/options.py",
    "llmrt/quant/scheme.py",
    "llmrt/quant/recipe.py",
    "llmrt/ops/rules.py",
]


def modules() -> list[Path]:
    return sorted((ROOT / "llmrt").rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "llmrt" and len(parts) > 1 else None


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    own = path.relative_to(ROOT / "llmrt").parts[0].removesuffix(".py")
    for module in imports(path):
        target = layer_of(module)
        if target is None or target == own or target in LEAVES:
            continue
        if own in LAYERS:
            assert target in LAYERS[LAYERS.index(own) :], f"{path}: {own} imports {module}"
        else:
            assert own not in LEAVES, f"{path}: the leaf {own} imports {module}"


@pytest.mark.parametrize("package", ENGINE)
def test_imports_go_down_in_the_engine(package: str) -> None:
    above = {f"llmrt.engine.{name}" for name in ENGINE[: ENGINE.index(package)]}
    for path in (ROOT / "llmrt" / "engine" / package).rglob("*.py"):
        assert not {".".join(module.split(".")[:3]) for module in imports(path)} & above, path


def test_every_package_of_the_engine_has_its_place() -> None:
    assert {path.parent.name for path in (ROOT / "llmrt" / "engine").glob("*/__init__.py")} == {*ENGINE}


def test_kernels_know_nothing_of_llmrt() -> None:
    for path in (ROOT / "kernels").rglob("*.py"):
        assert not any(module.split(".")[0] == "llmrt" for module in imports(path)), path


def torch_free() -> list[Path]:
    leaves = [path for path in modules() if path.relative_to(ROOT / "llmrt").parts[0].removesuffix(".py") in LEAVES]
    return leaves + [path for pattern in TORCH_FREE for path in sorted(ROOT.glob(pattern))]


@pytest.mark.parametrize("path", torch_free(), ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_is_not_named(path: Path) -> None:
    assert not any(module.split(".")[0] in ("torch", "transformers") for module in imports(path))


def test_no_torch_comes_in_by_a_back_door() -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in torch_free()]
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_files_stay_small() -> None:
    long = {str(path): n for path in modules() if (n := len(path.read_text().splitlines())) > 400}
    assert not long
