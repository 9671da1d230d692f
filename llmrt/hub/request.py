"""What a user asks for: an alias or a repository, read into the terms of the sources."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from llmrt.errors import ModelNotFoundError
from llmrt.hub.store import is_model_name
from llmrt.presets import WheelSource, find_preset, load_presets

DEFAULT_FILES = ("*.json", "*.safetensors", "tokenizer.model", "merges.txt", "*.jinja")
# Of a repository's page, or of a GGUF file's in it.
_ADDRESS = re.compile(
    r"(?:https?://)?(?:hf\.co|huggingface\.co)/([^/]+/[^/?#]+)(?:/(?:blob|resolve)/[^/]+/([^?#]+\.gguf))?.*"
)


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """``files`` are the patterns wanted of ``repository``; ``gguf`` the one file wanted instead of them.

    That is its name, or the type of weights that it alone has in its name, such as Q4_K_M.
    """

    name: str
    repository: str
    revision: str
    files: tuple[str, ...] = DEFAULT_FILES
    gguf: str | None = None
    wheel: WheelSource | None = None


def read_request(model: str, revision: str | None) -> ModelRequest:
    """Read an alias, ``org/name``, ``org/name:file.gguf`` or ``org/name:Q4_K_M``. Raises ModelNotFoundError for others.

    A revision that the user names can only come from the hub, so the wheel is left out then.
    """
    if preset := find_preset(model):
        return ModelRequest(
            name=model,
            repository=preset.repository,
            revision=revision or preset.revision,
            files=preset.files,
            wheel=preset.wheel if revision is None else None,
        )
    repository, _, gguf = model.partition(":")
    if "/" not in repository or not is_model_name(model):
        raise ModelNotFoundError(unknown_model(model))
    return ModelRequest(name=model, repository=repository, revision=revision or "main", gguf=gguf or None)


def unknown_model(model: str) -> str:
    """The message for a name that nothing has."""
    shown = f"no folder, file, alias or repository (org/name) is called {model!r}"
    if (address := _ADDRESS.fullmatch(model)) and is_model_name(inner := ":".join(filter(None, address.groups()))):
        return f"{shown}; did you mean {inner}?"
    aliases = list(load_presets())
    close = difflib.get_close_matches(model, aliases, n=1)
    hint = f"did you mean {close[0]}?" if close else f"aliases: {', '.join(aliases)}"
    return f"{shown}; {hint}"
