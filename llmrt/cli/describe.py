"""What is known of a model without loading it: from its preset, its config.json or its GGUF metadata."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from llmrt.cli.describe_packed import Packed, describe_packed
from llmrt.cli.describe_stored import stored_matrices
from llmrt.errors import ModelNotFoundError
from llmrt.hub import store
from llmrt.hub.artifact import ModelArtifact
from llmrt.hub.local import local_artifact
from llmrt.hub.request import read_request
from llmrt.model.checkpoints.config_files import read_config, read_fields
from llmrt.model.checkpoints.packed_header import packed_file
from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.model.config import ModelConfig
from llmrt.model.families.registry import read_model_config
from llmrt.model.fields import Fields
from llmrt.model.quantized.described_headers import described
from llmrt.model.quantized.quantization_headers import read_quantization
from llmrt.presets import Preset, find_preset
from llmrt.text.gguf_parts import part_paths

BYTES_PER_PARAMETER = 2  # of a published checkpoint: they are 16-bit


@dataclass(frozen=True, kw_only=True)
class Description:
    """A model as ``llmrt show`` prints it.

    ``weights`` says how another tool quantized them and how they are kept, None of those that are as they were trained.
    ``num_bytes`` is the size of ``files`` on this disk or, of a model that is not here, the computed size of the
    published checkpoint. ``packed`` are its packed weights or, beside ``files``, packed copies of them.
    """

    name: str
    status: str
    num_bytes: int
    num_parameters: int
    config: ModelConfig
    weights: str | None = None
    files: tuple[str, ...] = ()
    path: str | None = None
    source: str | None = None
    repository: str | None = None
    wheel: str | None = None
    licence: str | None = None
    licence_page: str | None = None
    packed: tuple[Packed, ...] = ()


def describe(model: str) -> Description:
    """Describe a local path, a pulled model or an alias, without the network.

    Raises ModelNotFoundError for anything else, and CheckpointError when a model's metadata cannot be read.
    """
    artifact = local_artifact(model)
    if artifact is not None:
        return _describe_local(artifact)
    preset = find_preset(model)
    manifest = store.load(model) if store.is_model_name(model) else None
    if manifest is not None and manifest.missing_file() is None:
        return _describe_pulled(manifest, preset)
    if preset is None:
        read_request(model, None)
        raise ModelNotFoundError(f"{model} is not pulled, so nothing is known of it; run: llmrt pull {model}")
    return _describe_preset(preset)


def preset_config(preset: Preset) -> ModelConfig:
    """The shape that an alias stands for. Raises ``CheckpointError`` naming the preset's file and field at fault.

    TOML has no null: a preset without a sliding window is a config.json that says null.
    """
    fields = {"sliding_window": None, **preset.config}
    return read_model_config(Fields(fields, f"{preset.alias}.toml: config"))


def published_bytes(config: ModelConfig) -> int:
    """Bytes of the published checkpoint's weights."""
    return num_parameters(config) * BYTES_PER_PARAMETER


def _describe_preset(preset: Preset) -> Description:
    config = preset_config(preset)
    description = Description(
        name=preset.alias,
        status="not pulled",
        num_bytes=published_bytes(config),
        num_parameters=num_parameters(config),
        config=config,
    )
    return _with_provenance(description, preset)


def _describe_pulled(manifest: store.Manifest, preset: Preset | None) -> Description:
    config = read_config(Path(manifest.path))
    description = Description(
        name=manifest.name,
        status=f"pulled {manifest.pulled_at[:10]}",
        num_bytes=manifest.num_bytes,
        num_parameters=num_parameters(config),
        config=config,
        weights=_weights(Path(manifest.path)),
        files=tuple(file.name for file in manifest.files),
        path=manifest.path,
        source=manifest.detail,
        repository=manifest.origin if manifest.source == "hub" else None,
        packed=describe_packed(Path(manifest.path)),
    )
    return description if preset is None else _with_provenance(description, preset)


def _describe_local(artifact: ModelArtifact) -> Description:
    root = artifact.path
    own = packed_file(root)
    there = root.iterdir() if root.is_dir() else (*part_paths(root), own)
    files = sorted(path for path in there if path and path.is_file())
    config = read_config(root)
    return Description(
        name=artifact.name,
        status="local",
        num_bytes=sum(path.stat().st_size for path in files),
        num_parameters=num_parameters(config),
        config=config,
        weights=_weights(root),
        files=tuple(path.name for path in files),
        path=str(root),
        source=artifact.detail,
        packed=describe_packed(root),
    )


def _weights(model: Path) -> str | None:
    if packed_file(model) is not None:
        return None
    if not model.is_dir():
        return "\n".join(map(str, stored_matrices(model))) or None
    quantization = read_quantization(model, read_fields(model)[0])
    return None if quantization is None else described(quantization.layouts)


def _with_provenance(description: Description, preset: Preset) -> Description:
    return replace(
        description,
        repository=preset.repository,
        licence=preset.licence,
        licence_page=preset.page if preset.gated else None,
        wheel=f"{preset.wheel.package} {preset.wheel.version}" if preset.wheel else None,
    )
