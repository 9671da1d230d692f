"""Which files make a folder a model: Hugging Face's, or those that Mistral's own programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """``config`` describes the model; its weights are in ``stem``.safetensors, or in shards with an index."""

    config: str
    stem: str

    @property
    def index(self) -> str:
        """The file that says which shard has which tensor."""
        return f"{self.stem}.safetensors.index.json"

    @property
    def whole(self) -> str:
        """The file of weights in one piece."""
        return f"{self.stem}.safetensors"


PUBLISHED = Layout("config.json", "model")
MISTRAL = Layout("params.json", "consolidated")


def layout_of(folder: Path) -> Layout:
    """That of ``folder``; where it has both, Hugging Face's."""
    own = not (folder / PUBLISHED.config).is_file() and (folder / MISTRAL.config).is_file()
    return MISTRAL if own else PUBLISHED
