"""Which model ``llmrt bench`` measures. Free of torch until its weights are opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmrt.cli.describe import describe, preset_config
from llmrt.cli.terminal import say
from llmrt.errors import LlmrtError
from llmrt.hub import store
from llmrt.hub.sources import resolve
from llmrt.model.checkpoints.config_files import read_config
from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.model.config import ModelConfig
from llmrt.presets import find_preset, load_presets

if TYPE_CHECKING:
    from llmrt.engine.loading.load_model import Model

FALLBACK = "mistral-7b"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model to measure; with ``path`` None its weights are random. ``reason`` says why, if llmrt chose it."""

    name: str
    config: ModelConfig
    path: Path | None
    detail: str
    reason: str | None = None

    def open_model(self) -> Model:
        """Its weights; imports torch."""
        if self.path is None:
            from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint

            return RandomCheckpoint(self.config)
        from llmrt.engine.loading.load_model import open_model

        return open_model(self.path)


def named_target(model: str, revision: str | None) -> Target:
    """The model itself, fetched where needed. Raises ``LlmrtError``."""
    artifact = resolve(model, revision=revision, report=say)
    return Target(name=artifact.name, config=read_config(artifact.path), path=artifact.path, detail=artifact.detail)


def random_target(model: str, reason: str | None = None, layers: int | None = None) -> Target:
    """The shape of an alias, a pulled model or a local path; a config.json alone will do. Raises ``LlmrtError``.

    With ``layers`` it has as many of them instead of its own.
    """
    config, detail = _shape(model), "random weights"
    if layers is not None:
        config, detail = replace(config, num_layers=layers), f"{detail}, {layers} of its {config.num_layers} layers"
    return Target(name=model, config=config, path=None, detail=detail, reason=reason)


def chosen_target(num_tokens: int) -> Target:
    """The largest pulled model whose context holds ``num_tokens``, else ``FALLBACK`` with random weights."""
    manifests = [manifest for manifest in store.load_all() if manifest.missing_file() is None]
    targets = [target for manifest in manifests if (target := _pulled_target(manifest)) is not None]
    fitting = [target for target in targets if target.config.max_context_length >= num_tokens]
    if not fitting:
        return random_target(FALLBACK, f"no pulled model has a context of {num_tokens} tokens")
    reason = f"it is the largest pulled model with a context of {num_tokens} tokens"
    return replace(max(fitting, key=lambda target: num_parameters(target.config)), reason=reason)


def smallest_alias(num_tokens: int) -> str:
    """The alias of the fewest parameters whose context holds ``num_tokens``."""
    configs = {alias: preset_config(preset) for alias, preset in load_presets().items()}
    fitting = [alias for alias, config in configs.items() if config.max_context_length >= num_tokens]
    return min(fitting, key=lambda alias: num_parameters(configs[alias]))


def _pulled_target(manifest: store.Manifest) -> Target | None:
    path = Path(manifest.path)
    try:
        return Target(name=manifest.name, config=read_config(path), path=path, detail=manifest.detail)
    except LlmrtError as error:
        say(f"note: {manifest.name} is passed over: {error}")
        return None


def _shape(model: str) -> ModelConfig:
    path = Path(model).expanduser()
    if path.exists():
        return read_config(path)
    if (preset := find_preset(model)) is not None:
        return preset_config(preset)
    return describe(model).config
