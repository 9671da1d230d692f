"""Where a prompt departs from those before it, which is why the cache had no more of it. Free of torch."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

_MOST_TOKENS = 1 << 20


class _Sequence(NamedTuple):
    salt: bytes
    token_ids: array[int]


class RecentPrompts:
    """The last prompts with their answers; token ids, four bytes each."""

    def __init__(self) -> None:
        self._num_tokens = 0
        self._sequences: dict[str, _Sequence] = {}  # oldest first

    def note(self, request_id: str, token_ids: Sequence[int], salt: bytes) -> None:
        """Remember what the request has by now. Those of another ``salt`` have nothing in common with it."""
        self._forget(request_id)
        self._sequences[request_id] = _Sequence(salt, array("i", token_ids))
        self._num_tokens += len(token_ids)
        while self._num_tokens > _MOST_TOKENS:
            self._forget(next(iter(self._sequences)))

    def departure(self, token_ids: Sequence[int], salt: bytes) -> int:
        """How many of its first tokens some remembered sequence begins with too."""
        prompt = array("i", token_ids)
        others = [other.token_ids for other in self._sequences.values() if other.salt == salt]
        return max((_num_common(prompt, other) for other in others), default=0)

    def _forget(self, request_id: str) -> None:
        forgotten = self._sequences.pop(request_id, None)
        self._num_tokens -= 0 if forgotten is None else len(forgotten.token_ids)


def _num_common(one: array[int], other: array[int]) -> int:
    """The length of the longest prefix that both have."""
    most = min(len(one), len(other))
    return bisect_left(range(most), True, key=lambda i: one[: i + 1] != other[: i + 1])
