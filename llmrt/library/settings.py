"""The settings of a model, as keywords: their names, their types, and what errors call them."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, fields
from difflib import get_close_matches
from typing import Any

import msgspec

from llmrt.config import DtypeName, EngineConfig, KvDtypeName, QuantName, SpeculateName, choice_here
from llmrt.errors import ConfigError, LlmrtError
from llmrt.hub.sources import resolve

logger = logging.getLogger("llmrt")

_FLAG = re.compile(r"--([a-z][a-z-]*)")
_OTHER_NAMES = {"ctx": "context_length", "lora": "adapters"}  # of the command line
_NAMES_ELSEWHERE = {
    **_OTHER_NAMES,
    "max_model_len": "context_length",
    "n_ctx": "context_length",
    "num_ctx": "context_length",
    "n_threads": "threads",
    "num_threads": "threads",
    "gpu_memory_utilization": "gpu_memory",
    "quantization": "quant",
    "load_in_4bit": 'quant="int4"',
    "load_in_8bit": 'quant="int8"',
    "torch_dtype": "dtype",
    "kv_cache_dtype": "kv_dtype",
    "enable_prefix_caching": "prefix_caching",
    "enable_lora": "adapters",
    "speculative_model": "draft_model",
}
_CHOICES = {"quant": QuantName, "dtype": DtypeName, "kv_dtype": KvDtypeName, "speculate": SpeculateName}
_DEFAULTS = EngineConfig(speculate="auto")


def engine_config(**settings: Any) -> EngineConfig:
    """``settings`` are fields of ``EngineConfig``. Raises ``ConfigError`` for another name, type or choice.

    A ``draft_model`` may be what every command takes as a model.
    """
    names = [field.name for field in fields(EngineConfig)]
    for name in settings:
        if name not in names:
            near = [_NAMES_ELSEWHERE[name]] if name in _NAMES_ELSEWHERE else get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}."
            raise ConfigError(f"There is no setting {name!r}; {hint}")
    if (draft := settings.get("draft_model")) is not None:
        settings["draft_model"] = str(resolve(draft, report=logger.info).path)
    for name in _CHOICES.keys() & settings.keys():
        if settings[name] is not None:
            settings[name] = choice_here(str(settings[name]))  # torch.bfloat16 is no str
    try:
        config = msgspec.convert({**asdict(_DEFAULTS), **settings}, EngineConfig)
    except msgspec.ValidationError as error:  # Expected `int | null`, got `str` - at `$.threads`
        reason, _, place = str(error).partition(" - at ")
        raise ConfigError(f"{place.strip('`').removeprefix('$.')}: {reason.replace('`', '')}.") from None
    for name, choices in _CHOICES.items():
        if (value := getattr(config, name)) not in [*choices]:
            raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")
    return config


@contextmanager
def errors_name_settings() -> Generator[None]:
    """Errors of the engine and of the server call settings as the command line does."""
    try:
        yield
    except LlmrtError as error:
        error.args = (_FLAG.sub(_setting, str(error)),)
        raise


def _setting(flag: re.Match[str]) -> str:
    return _OTHER_NAMES.get(flag[1], flag[1].replace("-", "_"))
