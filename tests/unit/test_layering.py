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
# Of the packages in these two a lower one is free of those above it, too.
PACKAGES = {
    "engine": ["conversion", "loading", "speculation", "runners", "sampling", "planning", "kv", "hardware"],
    "model": ["adapters", "loading", "modules", "checkpoints", "quantized", "families"],
}
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
    "llmrt/engine/planning/device.py",
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
    "llmrt/model/fields.py",
    "llmrt/model/stored_tensor.py",
    "llmrt/model/adapters/peft_config.py",
    "llmrt/model/checkpoints/config_files.py",
    "llmrt/model/checkpoints/fused.py",
    "llmrt/model/checkpoints/headers.py",
    "llmrt/model/checkpoints/kept.py",
    "llmrt/model/checkpoints/packed_header.py",
    "llmrt/model/checkpoints/source_identity.py",
    "llmrt/model/checkpoints/tensor_slots.py",
    "llmrt/model/checkpoints/weight_bytes.py",
    "llmrt/model/checkpoints/gguf/headers.py",
    "llmrt/model/checkpoints/gguf/schemes.py",
    "llmrt/model/checkpoints/safetensors/headers.py",
    "llmrt/model/families/*.py",
    "llmrt/model/quantized/matrix.py",
    "llmrt/model/quantized/*_headers.py",
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


@pytest.mark.parametrize(("layer", "package"), [(layer, name) for layer, names in PACKAGES.items() for name in names])
def test_imports_go_down_within_a_layer(layer: str, package: str) -> None:
    names = PACKAGES[layer]
    above = {f"llmrt.{layer}.{name}" for name in names[: names.index(package)]}
    for path in (ROOT / "llmrt" / layer / package).rglob("*.py"):
        assert not {".".join(module.split(".")[:3]) for module in imports(path)} & above, path


def test_what_all_packages_of_the_model_share_imports_none_of_them() -> None:
    packages = {f"llmrt.model.{name}" for name in PACKAGES["model"]}
    for path in (ROOT / "llmrt" / "model").glob("*.py"):
        assert not {".".join(module.split(".")[:3]) for module in imports(path)} & packages, path


@pytest.mark.parametrize("layer", PACKAGES)
def test_every_package_of_a_layer_has_its_place(layer: str) -> None:
    assert {path.parent.name for path in (ROOT / "llmrt" / layer).glob("*/__init__.py")} == {*PACKAGES[layer]}


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
