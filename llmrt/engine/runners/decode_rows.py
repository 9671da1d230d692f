"""The rows of a step of requests that decode: one for the last token of each, and one for each token of its draft.

These see the ones before them in the cache, as they would one step after the other. Free of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmrt.engine.request import Request

# Numbers of rows that a step with drafts may have: few, for each is recorded when it first comes.
DRAFT_STEP_ROWS = (2, 4, 8, 12, 16, 24, 32)


@dataclass(frozen=True)
class DecodeRows:
    """The request of each row, and the row's place in it: 0 for its last known token, i for token i of its draft."""

    requests: Sequence[Request]
    places: Sequence[int]

    @staticmethod
    def of(requests: Sequence[Request]) -> DecodeRows:
        """All rows of ``requests``."""
        if not any(request.draft for request in requests):
            return DecodeRows(requests, [0] * len(requests))
        rows = [(request, place) for request in requests for place in range(1 + len(request.draft))]
        return DecodeRows([request for request, _ in rows], [place for _, place in rows])

    @property
    def count(self) -> int:
        """How many rows, R."""
        return len(self.requests)

    @property
    def token_ids(self) -> list[int]:
        """The token of each, ``PENDING`` where the host does not know it yet."""
        return [
            request.draft[place - 1] if place else request.token_ids[-1]
            for request, place in zip(self.requests, self.places, strict=True)
        ]

    @property
    def positions(self) -> list[int]:
        """The place of each in its request."""
        return [request.num_computed_tokens + place for request, place in zip(self.requests, self.places, strict=True)]

    @property
    def draws(self) -> list[int]:
        """The number of the draw that each row's next token is chosen by."""
        return [request.num_output_tokens + place for request, place in zip(self.requests, self.places, strict=True)]
