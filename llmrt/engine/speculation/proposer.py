"""What guesses tokens. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llmrt.engine.request import Request


class Proposer(Protocol):
    """Guesses how requests go on. A wrong guess costs time, and nothing else."""

    @property
    def seconds_per_token(self) -> float:
        """What a guess takes; 0 where that is next to nothing."""
        ...

    def propose(self, requests: Sequence[Request], counts: Sequence[int]) -> list[list[int]]:
        """For each of ``requests``, all that decode, up to so many tokens that may follow its own."""
        ...
