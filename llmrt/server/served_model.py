"""The text side of a model: all that the HTTP process knows of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from llmrt import __version__
from llmrt.config import EngineConfig
from llmrt.hub.artifact import ModelArtifact

if TYPE_CHECKING:
    from llmrt.text.chat_format import ChatFormat
    from llmrt.text.generation_defaults import GenerationDefaults
    from llmrt.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ModelSpec:
    """A model that can be loaded, how, and the ``name`` that clients shall see; else the artifact's own."""

    artifact: ModelArtifact
    config: EngineConfig
    name: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def id(self) -> str:
        """The model's name in answers."""
        return self.name or (self._base if self.artifact.source in ("folder", "file") else self.artifact.name)

    @cached_property  # each request is looked up by it, and paths are resolved on the disk
    def names(self) -> frozenset[str]:
        """Every name that a request may call it by."""
        return frozenset({self.id, self.artifact.name, self._base, self.artifact.path.resolve().name})

    @property
    def fingerprint(self) -> str:
        """Equal for equal weights and settings: answers with the same seed can differ only where this does."""
        artifact = self.artifact
        settings = replace(self.config, disk_cache=0)
        identity = repr((__version__, artifact.source, artifact.detail, str(artifact.path), settings))
        return f"fp_{hashlib.sha256(identity.encode()).hexdigest()[:12]}"

    @property
    def _base(self) -> str:
        path = self.artifact.path.resolve()
        return path.stem if path.suffix == ".gguf" else path.name


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model's id, tokenizer, chat format (base models have none) and defaults.

    ``special_tokens`` are those with a name, such as ``eos_token``, and ``marks`` those around calls and thoughts.
    """

    id: str
    fingerprint: str
    tokenizer: Tokenizer
    chat: ChatFormat | None
    special_tokens: Mapping[str, str]
    marks: Mapping[str, int]
    defaults: GenerationDefaults

    def adapted(self, name: str, identity: str) -> ServedModel:
        """What answers are said to be from where the adapter ``name`` changes them."""
        both = hashlib.sha256(f"{self.fingerprint} {identity}".encode()).hexdigest()
        return replace(self, id=name, fingerprint=f"fp_{both[:12]}")


def load_served_model(spec: ModelSpec) -> ServedModel:
    """Read a model's tokenizer, chat template and defaults.

    What that takes is imported here, which is when the engine has begun to load.
    """
    from llmrt.text.chat_format import chat_format, special_marks
    from llmrt.text.chat_template import load_chat_template, named_tokens
    from llmrt.text.generation_defaults import load_generation_defaults
    from llmrt.text.load_tokenizer import load_tokenizer

    path = spec.artifact.path
    tokenizer = load_tokenizer(path)
    special_tokens = named_tokens(path)
    template = load_chat_template(path, special_tokens)
    chat = None if template is None else chat_format(template)
    return ServedModel(
        id=spec.id,
        fingerprint=spec.fingerprint,
        tokenizer=tokenizer,
        chat=chat,
        special_tokens=special_tokens,
        marks={} if chat is None else special_marks(tokenizer, chat.marks),
        defaults=load_generation_defaults(path, spec.artifact.sampling),
    )
