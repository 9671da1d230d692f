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
    """Of each row its request, its token, ``PENDING`` where the host does not know it yet, and the token's position."""

    requests: Sequence[Request]
    token_ids: Sequence[int]
    positions: Sequence[int]

    @staticmethod
    def of(requests: Sequence[Request]) -> DecodeRows:
        """All rows of ``requests``."""
        if any(request.draft for request in requests):
            return _with_drafts(requests)
        tokens = [request.token_ids[-1] for request in requests]
        return DecodeRows(requests, tokens, [len(request.token_ids) - 1 for request in requests])

    @property
    def count(self) -> int:
        """How many rows, R."""
        return len(self.requests)

    @property
    def draws(self) -> list[int]:
        """The number of the draw that each row's next token is chosen by: how many were generated before it."""
        return [
            position + 1 - request.num_prompt_tokens
            for request, position in zip(self.requests, self.positions, strict=True)
        ]


def _with_drafts(requests: Sequence[Request]) -> DecodeRows:
    rows = [
        (request, token_id, position)
        for request in requests
        for position, token_id in enumerate((request.token_ids[-1], *request.draft), len(request.token_ids) - 1)
    ]
    return DecodeRows([r for r, _, _ in rows], [token for _, token, _ in rows], [position for _, _, position in rows])
