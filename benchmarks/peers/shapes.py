"""The shapes that are measured, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmrt.cli.describe import preset_config
from llmrt.model.config import ModelConfig
from llmrt.presets import find_preset


@dataclass(frozen=True)
class Shape:
    """The shape of an ``alias``; ``num_layers`` of its layers, None for all, and a context of ``context_length``.

    ``real`` shapes are measured with the alias's own weights, the others with random ones.
    """

    title: str
    alias: str
    context_length: int
    num_layers: int | None = None
    real: bool = False

    @property
    def config(self) -> ModelConfig:
        """The shape as numbers."""
        preset = find_preset(self.alias)
        assert preset is not None, self.alias
        config = preset_config(preset)
        return replace(config, context_length=self.context_length, num_layers=self.num_layers or config.num_layers)


SHAPES = {
    "smollm2": Shape("SmolLM2 135M", "smollm2-135m", 8192, real=True),
    "1.1b": Shape("Llama 1.1B", "tinyllama-1.1b", 40960),
    "7b": Shape("Mistral 7B", "mistral-7b", 32768),
    # Whole layers, as many as two engines hold side by side in 24 GB.
    "mixtral": Shape("Mixtral 8x7B, 4 of 32 layers", "mixtral-8x7b", 32768, num_layers=4),
}
