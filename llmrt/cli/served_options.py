"""The options of models that are served, and what a ``--config`` file says of one model alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmrt.cli.calibration import calibration_ids
from llmrt.cli.engine_options import ModelOptions
from llmrt.cli.options import DISK_CACHE, Adapters, Ctx, DiskCache, DraftModel, MaxNumSeqs, Speculate, SpeculateName
from llmrt.cli.session import draft_path
from llmrt.config import EngineConfig
from llmrt.errors import ConfigError
from llmrt.server.adapters import parse_adapter
from llmrt.text.tokenizer import Tokenizer

# Of several models these are for one, in its table of the file.
_FOR_ONE = ("revision", "lora", "draft_model")


@dataclass(frozen=True, kw_only=True)
class ServedOptions(ModelOptions):
    """``ModelOptions``, and what else there is to choose for a model with many clients."""

    ctx: Ctx = None
    speculate: Speculate = SpeculateName.auto
    draft_model: DraftModel = None
    max_num_seqs: MaxNumSeqs = 8
    disk_cache: DiskCache = DISK_CACHE
    lora: Adapters = None

    def served_config(self, tokenizer: Callable[[], Tokenizer]) -> EngineConfig:
        """The configuration of its engine. Raises ``LlmrtError``.

        ``tokenizer`` is asked for if there is a text to calibrate with.
        """
        text = self.calibrate
        return self.config(
            calibration=None if text is None else calibration_ids(text, self.quant, tokenizer()),
            context_length=self.ctx,
            speculate=self.speculate,
            draft_model=draft_path(self.draft_model),
            max_num_seqs=self.max_num_seqs,
            disk_cache=self.disk_cache,
            adapters=tuple(map(parse_adapter, self.lora or [])),
        )


def options_of_each(
    models: Sequence[str], shared: ServedOptions, own: Mapping[str, Mapping[str, Any]]
) -> list[ServedOptions]:
    """``shared`` with each model's ``own`` in place. Raises ``ConfigError`` for what is for other models than these."""
    for name in own:
        if name not in models:
            raise ConfigError(
                f"--config has settings of models.{name}, which is not served; served: {', '.join(models)}."
            )
    for name in _FOR_ONE if len(models) > 1 else ():
        if getattr(shared, name):
            raise ConfigError(
                f"--{name.replace('_', '-')} is for one model, and these are {len(models)};"
                f" set {name} in its own table of a --config file, [models.{models[0]!r}]."
            )
    return [replace(shared, **own.get(model, {})) for model in models]
