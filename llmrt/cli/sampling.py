"""Sampling on the command line: options, what they default to, and ``/set``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from llmrt.engine.request import SamplingParams
from llmrt.errors import RequestError
from llmrt.text.generation_defaults import DRAWING, GenerationDefaults


@dataclass(frozen=True, kw_only=True)
class DrawingOptions:
    """How tokens are drawn, but for the temperature, whose default is each command's own."""

    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest tokens of this joint probability.")] = (
        None
    )
    top_k: Annotated[int | None, typer.Option(help="Draw from so many of the likeliest tokens; 0 for all.")] = None
    min_p: Annotated[float | None, typer.Option(help="Drop tokens this much less likely than the likeliest.")] = None
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Make tokens of the prompt and the answer less likely, by this factor.")
    ] = None
    frequency_penalty: Annotated[
        float | None, typer.Option(help="Make tokens less likely, by this for each time the answer has them.")
    ] = None
    presence_penalty: Annotated[
        float | None, typer.Option(help="Make tokens less likely, by this where the answer has them.")
    ] = None
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same answer.")] = None


CHAT_FALLBACK = SamplingParams(temperature=0.7, top_p=0.95)
_SETTABLE: dict[str, Callable[[str], float]] = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "repetition_penalty": float,
    "frequency_penalty": float,
    "presence_penalty": float,
    "seed": int,
    "max_tokens": int,
}
_UNSET = "none"
_CAN_BE_UNSET = ("seed", "max_tokens")


def recommended(defaults: GenerationDefaults, vocab_size: int) -> SamplingParams:
    """What the model's publisher recommends for a conversation; ``CHAT_FALLBACK`` where they do not say how to draw."""
    drawing = {name: getattr(defaults, name) for name in DRAWING} | {"top_k": defaults.top_k_within(vocab_size)}
    params = override(SamplingParams() if defaults.says_how_to_draw else CHAT_FALLBACK, **drawing)
    return override(params, repetition_penalty=defaults.repetition_penalty)


def override(params: SamplingParams, **options: Any) -> SamplingParams:
    """``params`` with the options that were given, those that are not None."""
    return replace(params, **{name: value for name, value in options.items() if value is not None})


def check(params: SamplingParams, vocab_size: int) -> None:
    """Raise ``RequestError`` for values that cannot be served, and for an answer of no tokens."""
    if params.max_tokens is not None and params.max_tokens < 1:
        raise RequestError(f"max_tokens is {params.max_tokens}; it must be at least 1.", param="max_tokens")
    params.validate(vocab_size)


def set_value(params: SamplingParams, name: str, text: str, vocab_size: int) -> SamplingParams:
    """``params`` with the value that a user typed. Raises ``RequestError`` naming what is wrong with it."""
    name = name.replace("-", "_")
    if name not in _SETTABLE:
        raise RequestError(f"There is no setting {name!r}; the settings are {', '.join(_SETTABLE)}.")
    changed = replace(params, **{name: _value(name, text)})
    check(changed, vocab_size)
    return changed


def describe(params: SamplingParams) -> str:
    """The settings that ``set_value`` knows, one a line."""
    values = {name: getattr(params, name) for name in _SETTABLE}
    width = max(map(len, values))
    return "\n".join(f"{name:{width}}  {_UNSET if value is None else value}" for name, value in values.items())


def _value(name: str, text: str) -> float | None:
    if name in _CAN_BE_UNSET and text == _UNSET:
        return None
    kind = _SETTABLE[name]
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        wanted += f" or {_UNSET}" if name in _CAN_BE_UNSET else ""
        raise RequestError(f"{name} is {text!r}; it must be {wanted}.", param=name) from None
