"""Where a prompt departs from those before it, which is why the cache had no more of it. Free of torch."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

_MOST_TOKENS = 1 << 20
_OVERHEAD = 64  # what a sequence takes beside its tokens, in the room of so many
_SIZE = 4  # bytes of a token


class _Sequence(NamedTuple):
    salt: bytes
    content: bytes

    @property
    def size(self) -> int:
        return len(self.content) // _SIZE + _OVERHEAD


class RecentPrompts:
    """The last prompts with their answers.

    They are sorted: none has more in common with a prompt than one of the two that it would stand between. So there may
    be any number of them.
    """

    def __init__(self) -> None:
        self._size = 0
        self._sequences: dict[str, _Sequence] = {}  # oldest first
        self._sorted = defaultdict[bytes, list[bytes]](list)  # their contents, by salt

    def note(self, request_id: str, token_ids: Sequence[int], salt: bytes) -> None:
        """Remember what the request has by now. Those of another ``salt`` have nothing in common with it."""
        self._forget(request_id)
        sequence = self._sequences[request_id] = _Sequence(salt, _content(token_ids))
        insort(self._sorted[salt], sequence.content)
        self._size += sequence.size
        while self._size > _MOST_TOKENS:
            self._forget(next(iter(self._sequences)))

    def departure(self, token_ids: Sequence[int], salt: bytes) -> int:
        """How many of its first tokens some remembered sequence begins with too."""
        prompt, others = _content(token_ids), self._sorted.get(salt, [])
        place = bisect_left(others, prompt)
        return max((_num_common(prompt, other) for other in others[max(0, place - 1) : place + 1]), default=0)

    def _forget(self, request_id: str) -> None:
        forgotten = self._sequences.pop(request_id, None)
        if forgotten is not None:
            self._size -= forgotten.size
            others = self._sorted[forgotten.salt]
            del others[bisect_left(others, forgotten.content)]
            if not others:
                del self._sorted[forgotten.salt]


def _content(token_ids: Sequence[int]) -> bytes:
    """Four bytes a token, the highest first, so that they are in the order of the tokens."""
    content = array("i", token_ids)
    if sys.byteorder == "little":
        content.byteswap()
    return content.tobytes()


def _num_common(one: bytes, other: bytes) -> int:
    """The number of tokens of the longest prefix that both have."""
    most = min(len(one), len(other)) // _SIZE
    return bisect_left(range(_SIZE, (most + 1) * _SIZE, _SIZE), True, key=lambda end: one[:end] != other[:end])
