"""How models are printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.filesize import decimal

from llmrt.cli.describe import Description, preset_config, published_bytes
from llmrt.cli.describe_packed import Packed, describe_packed, evaluation_facts
from llmrt.cli.tables import print_facts, print_rows
from llmrt.engine.hardware.gpus import auto_device
from llmrt.hub.store import Manifest
from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.model.config import ModelConfig
from llmrt.ops.rules import Case, native_refusal, triton_refusal
from llmrt.presets import Preset


def listing(manifests: Iterable[Manifest], presets: Iterable[Preset]) -> dict[str, list[dict[str, Any]]]:
    """What ``list --json`` prints: sizes in bytes, ``missing`` naming a file that is gone."""
    return {
        "pulled": [
            msgspec.to_builtins(manifest)
            | {
                "bytes": manifest.num_bytes,
                "missing": manifest.missing_file(),
                "packed": msgspec.to_builtins(describe_packed(Path(manifest.path))),
            }
            for manifest in manifests
        ],
        "available": [
            {
                "name": preset.alias,
                "parameters": num_parameters(preset_config(preset)),
                "bytes": published_bytes(preset_config(preset)),
                "licence": preset.licence,
                "gated": preset.gated,
                "repository": preset.repository,
            }
            for preset in presets
        ],
    }


def print_pulled(manifests: Sequence[Manifest]) -> None:
    """Print the pulled models, or how to get one."""
    if not manifests:
        typer.echo("No model is pulled yet. Try: llmrt pull smollm2-135m")
        return
    rows = [
        (
            manifest.name,
            decimal(manifest.num_bytes),
            ", ".join([manifest.detail, *(f"packed {copy}" for copy in describe_packed(Path(manifest.path)))]),
            "files missing, pull again" if manifest.missing_file() else manifest.pulled_at[:10],
        )
        for manifest in manifests
    ]
    print_rows(("PULLED", "SIZE", "SOURCE", "DATE"), rows)


def print_available(presets: Sequence[Preset]) -> None:
    """Print the aliases that are not pulled; sizes are computed from the architecture, for 16-bit weights."""
    if not presets:
        return
    typer.echo()
    rows = [
        (
            preset.alias,
            decimal(published_bytes(preset_config(preset))),
            _count(num_parameters(preset_config(preset))),
            preset.licence + (" (to be accepted)" if preset.gated else ""),
        )
        for preset in presets
    ]
    print_rows(("AVAILABLE", "SIZE", "PARAMETERS", "LICENCE"), rows)


def print_description(model: Description) -> None:
    """Print what is known of one model, a line a fact, leaving out what it does not have."""
    where = "" if model.path else " (computed, 16-bit weights)"
    facts = [
        ("name", model.name),
        ("status", model.status),
        ("source", model.source),
        ("path", model.path),
        ("repository", model.repository),
        ("wheel", None if model.source else model.wheel),
        ("licence", model.licence),
        ("accept it at", model.licence_page),
        ("size", decimal(model.num_bytes) + where),
        ("parameters", f"{_count(model.num_parameters)} ({model.num_parameters:,})"),
        ("weights", model.weights),
        *_shape_facts(model.config),
        ("files", "\n".join(model.files) or None),
        *_packed_facts(model.packed),
    ]
    print_facts(facts)


def _packed_facts(copies: Iterable[Packed]) -> Iterator[tuple[str, str]]:
    for copy in copies:
        yield "packed", f"{copy}, {copy.path}"
        if copy.evaluation is not None:
            yield from evaluation_facts(copy.evaluation)


def _shape_facts(config: ModelConfig) -> list[tuple[str, str | None]]:
    moe = config.moe
    return [
        ("family", config.family),
        ("context", _tokens(config.context_length)),
        ("sliding window", _tokens(config.sliding_window)),
        ("layers", str(config.num_layers)),
        ("hidden size", str(config.hidden_size)),
        ("attention heads", f"{config.num_heads} ({config.num_kv_heads} key/value)"),
        ("feed-forward", str(config.intermediate_size)),
        ("experts", f"{moe.num_experts} of {moe.intermediate_size}, {moe.num_active} for each token" if moe else None),
        ("vocabulary", _tokens(config.vocab_size)),
        _computed(config, auto_device()),
    ]


def _computed(config: ModelConfig, device: str) -> tuple[str, str]:
    """What computes the model on ``device``, once its weights are packed."""
    granule = config.granule_on(device)
    if device == "cpu":
        reason = native_refusal(Case("cpu", "fp32", granule=granule))
        return "on a CPU", "native kernels" if reason is None else f"torch, slower, for {reason}"
    reason = triton_refusal(Case(device, "bf16", group=64, granule=granule))
    return "on a GPU", "Triton kernels" if reason is None else f"torch, slower, if quantized, for {reason}"


def _tokens(number: int | None) -> str | None:
    return f"{number:,} tokens" if number else None


def _count(number: int) -> str:
    return f"{number / 1e9:.1f} B" if number >= 1e9 else f"{number / 1e6:.0f} M"
