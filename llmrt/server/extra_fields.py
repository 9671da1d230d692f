"""What becomes of request fields that this server does not implement.

- Fields that change nothing in the answer are accepted.
- Fields that would change the answer are refused by name, unless their value asks for nothing.
- A field that is one of ours but for a letter is refused: it was meant to change the answer.
- Any other field is left aside and named in the response header ``x-llmrt-ignored``, so that a newer client
  keeps working and its user can still see what had no effect. So are fields of the objects in a body, of its tools
  for example.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import BaseModel

from llmrt.errors import RequestError


@dataclass(frozen=True)
class FieldPolicy:
    """``unsupported`` fields come with the values that ask for nothing; ``instead`` is what to say of some of them."""

    harmless: Collection[str]
    unsupported: Mapping[str, tuple[object, ...]]
    instead: Mapping[str, str]


HARMLESS = frozenset(
    {
        "guided_decoding_backend",
        "include_obfuscation",
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
    }
)

UNSUPPORTED: Mapping[str, tuple[object, ...]] = {  # and the values that ask for nothing
    "audio": (),
    "best_of": (1,),
    "chat_template": (),
    "detokenize": (True,),
    "documents": ([],),
    "dry_multiplier": (0,),
    "echo": (False,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "guided_whitespace_pattern": (),
    "length_penalty": (1,),
    "logits_processors": ([],),
    "max_new_tokens": (),
    "max_output_tokens": (),
    "mirostat": (0,),
    "modalities": (["text"],),
    "n_predict": (-1,),
    "num_predict": (-1,),
    "prompt_embeds": (),
    "repeat_penalty": (1,),
    "stop_sequences": ([],),
    "suffix": ("",),
    "tfs_z": (1,),
    "top_a": (0,),
    "truncate_prompt_tokens": (),
    "typical_p": (1,),
    "use_beam_search": (False,),
    "web_search_options": (),
    "with_pieces": (False,),
    "xtc_probability": (0,),
}

_INSTEAD: Mapping[str, str] = {
    "function_call": "is the old form of tool_choice, which this server reads",
    "functions": "is the old form of tools, which this server reads",
    "max_new_tokens": "is called max_tokens by this server",
    "max_output_tokens": "is called max_tokens by this server",
    "n_predict": "is called max_tokens by this server",
    "num_predict": "is called max_tokens by this server",
    "repeat_penalty": "is called repetition_penalty by this server",
    "stop_sequences": "is called stop by this server",
}

OPENAI = FieldPolicy(HARMLESS, UNSUPPORTED, _INSTEAD)

_MAX_NAMES = 20
_MISSPELT = 0.93  # likeness: temprature and max_token are above it; models, which OpenRouter has beside model, is not
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


def check_extra_fields(body: BaseModel, policy: FieldPolicy = OPENAI) -> list[str]:
    """The names of fields that have no effect. Raises ``RequestError`` for one that should have one."""
    ignored: list[str] = []
    for name, value in (body.model_extra or {}).items():
        if value is None or name in policy.harmless:
            continue
        if name not in policy.unsupported:
            _refuse_misspelt(name, body)
            ignored.append(name)
        elif value not in policy.unsupported[name]:
            hint = policy.instead.get(name, "is not supported by this server")
            raise RequestError(f"{name} {hint}.", param=name)
    return [*ignored, *_inner_extras(body, policy)]


def _refuse_misspelt(name: str, body: BaseModel) -> None:
    known = [field.alias or own for own, field in type(body).model_fields.items()]
    if meant := get_close_matches(name, known, n=1, cutoff=_MISSPELT):
        raise RequestError(f"{name} is not known; did you mean {meant[0]}?", param=name)


def _inner_extras(body: BaseModel, policy: FieldPolicy) -> Iterator[str]:
    """The paths of unknown fields in the objects below ``body``, such as ``tools.0.function.returns``."""
    for name, value in body:
        for place, inner in _objects(name, value):
            yield from (f"{place}.{extra}" for extra in inner.model_extra or {} if extra not in policy.harmless)
            yield from (f"{place}.{path}" for path in _inner_extras(inner, policy))


def _objects(name: str, value: object) -> list[tuple[str, BaseModel]]:
    """The objects that a field holds, with their places."""
    if isinstance(value, list):
        return [(f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, BaseModel)]
    return [(name, value)] if isinstance(value, BaseModel) else []


def ignored_header(names: list[str]) -> dict[str, str]:
    """``x-llmrt-ignored`` with the names, as far as a header can hold them."""
    if not names:
        return {}
    shown = [_UNSAFE.sub("?", name)[:64] or "?" for name in names[:_MAX_NAMES]]
    more = [f"and {len(names) - _MAX_NAMES} more"] if len(names) > _MAX_NAMES else []
    return {"x-llmrt-ignored": ", ".join(shown + more)}
