"""The models of a server as Ollama describes models."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from gguf import LlamaFileType

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.config_files import read_config
from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.model.config import ModelConfig
from llmrt.quant.recipe import RECIPES
from llmrt.server.dialects.ollama.answer import time_text
from llmrt.server.dialects.ollama.records import ModelDetails, ModelRecord, ShowRecord, Version
from llmrt.server.served_model import ModelSpec, ServedModel, load_served_model
from llmrt.text.gguf_metadata import open_gguf, read_value

_API = "0.13.0"  # clients ask for a least one
_NEVER = "9999-12-31T23:59:59Z"
_LONG_SECONDS = 1e9  # what stays longer than that is said to stay
_WEIGHTS = ("*.safetensors", "*.gguf")


def version() -> Version:
    """Numbers and dots alone: Open WebUI reads no other."""
    return Version(_API)


def model_record(spec: ModelSpec) -> ModelRecord:
    """A line of the list of models; reads the model's configuration."""
    name = spec.id if ":" in spec.id else f"{spec.id}:latest"
    return ModelRecord(
        name=name,
        model=name,
        modified_at=_modified(spec),
        size=_num_bytes(spec.artifact.path),
        digest=hashlib.sha256(spec.fingerprint.encode()).hexdigest(),
        details=_details(spec, _config(spec)),
    )


def loaded_record(spec: ModelSpec, context_length: int, keep_seconds: float) -> ModelRecord:
    """The same for a model that is loaded, with what its engine has."""
    stays = keep_seconds > _LONG_SECONDS
    leaves = _NEVER if stays else time_text(datetime.now(UTC) + timedelta(seconds=keep_seconds))
    return msgspec.structs.replace(model_record(spec), expires_at=leaves, context_length=context_length)


def show_record(spec: ModelSpec, model: ServedModel | None, context_length: int | None) -> ShowRecord:
    """A model in detail; one that is not loaded is not loaded for that."""
    model = model or load_served_model(spec)
    config = _config(spec)
    return ShowRecord(
        modelfile=f"FROM {model.id}",
        parameters=_parameters(model),
        template="" if model.chat is None else model.chat.template.source,
        details=_details(spec, config),
        model_info=_info(config, context_length),
        capabilities=_capabilities(model),
        modified_at=_modified(spec),
    )


def _config(spec: ModelSpec) -> ModelConfig | None:
    """None where only the engine could read the files."""
    try:
        return read_config(spec.artifact.path)
    except CheckpointError:
        return None


def _details(spec: ModelSpec, config: ModelConfig | None) -> ModelDetails:
    family = "unknown" if config is None else config.family
    return ModelDetails(
        parent_model="",
        format="gguf" if spec.artifact.path.suffix == ".gguf" else "safetensors",
        family=family,
        families=[family],
        parameter_size="unknown" if config is None else _rounded(num_parameters(config)),
        quantization_level=_quantization(spec),
    )


def _quantization(spec: ModelSpec) -> str:
    """What was asked for or, if nothing was, what a GGUF file says of itself."""
    path, quant = spec.artifact.path, spec.config.quant
    if quant in RECIPES:
        return quant.upper()
    if path.suffix == ".gguf":
        with suppress(CheckpointError, ValueError):  # a file without a type, or with one newer than the library
            return LlamaFileType(read_value(open_gguf(path), "general.file_type", int)).name.removeprefix("MOSTLY_")
    return "unknown"


def _info(config: ModelConfig | None, served: int | None) -> dict[str, Any]:
    """Under the names of GGUF's metadata; the context is the one that is ``served``, or else the model's own."""
    family = "unknown" if config is None else config.family
    known: dict[str, Any] = {"general.architecture": family}
    if served is not None:
        known[f"{family}.context_length"] = served
    if config is None:
        return known
    return {
        f"{family}.context_length": config.context_length,
        **known,
        "general.parameter_count": num_parameters(config),
        f"{family}.vocab_size": config.vocab_size,
        f"{family}.embedding_length": config.hidden_size,
        f"{family}.block_count": config.num_layers,
        f"{family}.feed_forward_length": config.intermediate_size,
        f"{family}.attention.head_count": config.num_heads,
        f"{family}.attention.head_count_kv": config.num_kv_heads,
        f"{family}.rope.freq_base": config.rope.theta,
    }


def _capabilities(model: ServedModel) -> list[str]:
    chat = model.chat
    more = [] if chat is None else ["tools", *(["thinking"] if chat.reasoning is not None else [])]
    return ["completion", *more]


def _parameters(model: ServedModel) -> str:
    """What the model's publisher recommends, in the lines of a Modelfile."""
    defaults = model.defaults
    asked = {
        "temperature": defaults.temperature,
        "top_p": defaults.top_p,
        "top_k": defaults.top_k,
        "min_p": defaults.min_p,
        "repeat_penalty": defaults.repetition_penalty,
    }
    return "\n".join(f"{name} {value:g}" for name, value in asked.items() if value is not None)


def _num_bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for pattern in _WEIGHTS for file in path.glob(pattern)]
    return sum(file.stat().st_size for file in files)


def _modified(spec: ModelSpec) -> str:
    return time_text(datetime.fromtimestamp(spec.artifact.path.stat().st_mtime, UTC))


def _rounded(number: int) -> str:
    return f"{number / 1e9:.1f}B" if number >= 1e9 else f"{number / 1e6:.2f}M"
