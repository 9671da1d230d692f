"""What becomes of request fields that this server does not implement.

- Fields that change nothing in the answer are accepted.
- Fields that would change the answer are refused by name, unless their value asks for nothing, or they are another
  server's name of a field of ours that has the same value.
- A field that is one of ours but for a letter is refused: it was meant to change the answer.
- Any other field is left aside and named in the response header ``x-llmrt-ignored``, so that a newer client
  keeps working and its user can still see what had no effect. So are fields of the objects in a body, of its tools
  for example.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

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

_OURS: Mapping[str, str] = {  # what other servers call otherwise
    "max_new_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "num_predict": "max_tokens",
    "repeat_penalty": "repetition_penalty",
}

_INSTEAD: Mapping[str, str] = {
    "function_call": "is the old form of tool_choice, which this server reads",
    "functions": "is the old form of tools, which this server reads",
    "stop_sequences": "is called stop by this server",
    **{name: f"is called {ours} by this server" for name, ours in _OURS.items()},
}

OPENAI = FieldPolicy(HARMLESS, UNSUPPORTED, _INSTEAD)

# Fields that other APIs have beside those of ours which they are a letter away from.
_NOT_MISSPELT = frozenset({"dimension", "mode", "models", "normalized", "speed"})
_MIN_MISSPELT = 4  # letters of a name of ours: a shorter one is a letter away from too much
_MAX_NAMES = 20  # shown, and looked at for misspellings: a body can have a million
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


def check_extra_fields(body: BaseModel, policy: FieldPolicy = OPENAI) -> list[str]:
    """The names of fields that have no effect. Raises ``RequestError`` for one that should have one."""
    ignored: list[str] = []
    for name, value in (body.model_extra or {}).items():
        if value is None or name in policy.harmless:
            continue
        if name not in policy.unsupported:
            if len(ignored) < _MAX_NAMES:
                _refuse_misspelt(name, body)
            ignored.append(name)
        elif value not in policy.unsupported[name] and not _repeats_ours(name, value, body):
            hint = policy.instead.get(name, "is not supported by this server")
            raise RequestError(f"{name} {hint}.", param=name)
    return [*ignored, *_inner_extras(body, policy)]


def _repeats_ours(name: str, value: object, body: BaseModel) -> bool:
    return name in _OURS and value == getattr(body, _OURS[name], None)


def _refuse_misspelt(name: str, body: BaseModel) -> None:
    if name in _NOT_MISSPELT:
        return
    known = [field.alias or own for own, field in type(body).model_fields.items()]
    if meant := [own for own in known if len(own) >= _MIN_MISSPELT and _is_one_edit(name, own)]:
        raise RequestError(f"{name} is not known; did you mean {meant[0]}?", param=name)


def _is_one_edit(typed: str, meant: str) -> bool:
    """Whether of two names one has a letter too much, too few or another, or two neighbours in the other order."""
    if abs(len(typed) - len(meant)) > 1:
        return False
    a, b = typed, meant
    while a and a[:1] == b[:1]:
        a, b = a[1:], b[1:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def _inner_extras(body: BaseModel, policy: FieldPolicy) -> Iterator[str]:
    """The paths of unknown fields in the objects below ``body``, such as ``tools.0.function.returns``."""
    for name, value in body:
        for place, inner in _objects(name, value):
            yield from (f"{place}.{extra}" for extra in inner.model_extra or {} if extra not in policy.harmless)
            yield from (f"{place}.{path}" for path in _inner_extras(inner, policy))


def _objects(name: str, value: object) -> list[tuple[str, BaseModel]]:
    """The objects that a field holds, with their places."""
    if isinstance(value, list) and value and isinstance(value[0], BaseModel):  # others may be many, and are none
        return [(f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, BaseModel)]
    return [(name, value)] if isinstance(value, BaseModel) else []


def ignored_header(names: Sequence[str]) -> dict[str, str]:
    """``x-llmrt-ignored`` with the names, as far as a header can hold them."""
    if not names:
        return {}
    shown = [_UNSAFE.sub("?", name[:64]) or "?" for name in names[:_MAX_NAMES]]
    more = [f"and {len(names) - _MAX_NAMES} more"] if len(names) > _MAX_NAMES else []
    return {"x-llmrt-ignored": ", ".join(shown + more)}
