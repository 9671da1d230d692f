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

    def warm_up(self) -> None:
        """Compile what a GPU would compile in the midst of serving."""
        ...

    def reach(self, request: Request) -> int:
        """How many tokens it may guess at most, 0 or less for a request that it cannot guess for now."""
        ...

    def propose(self, requests: Sequence[Request], counts: Sequence[int]) -> list[list[int]]:
        """For each of ``requests``, that decode and whose tokens are known, up to so many that may follow."""
        ...
