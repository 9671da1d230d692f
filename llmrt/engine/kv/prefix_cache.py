"""Which full blocks can be found again by their content. Free of torch.

A block's key is a hash chained over its whole prefix, key[i] = H(key[i-1], tokens of block i), so equal keys
mean equal keys-and-values; the root is that of the request's adapter. 128 bits of BLAKE2 make an accidental collision
a matter of 2^64 blocks.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Sequence
from hashlib import blake2b

ON_DISK = -1  # stands in a match for a block that is not in the cache, but could be read
_ROOT = b"llmrt"


def extend_block_keys(keys: list[bytes], token_ids: Sequence[int], block_size: int, salt: bytes = b"") -> None:
    """Append to ``keys`` the key of every full block of ``token_ids`` that has none yet.

    Keys and values depend on the tokens and on what ``salt`` names.
    """
    for start in range(len(keys) * block_size, len(token_ids) - block_size + 1, block_size):
        content = array("q", token_ids[start : start + block_size]).tobytes()
        parent = keys[-1] if keys else _ROOT + salt
        keys.append(blake2b(content, key=parent, digest_size=16).digest())


class PrefixCache:
    """A two-way map between block keys and the blocks that hold them."""

    def __init__(self) -> None:
        self._block_by_key: dict[bytes, int] = {}
        self._key_by_block: dict[int, bytes] = {}

    def __contains__(self, block: int) -> bool:
        return block in self._key_by_block

    def __len__(self) -> int:
        return len(self._key_by_block)

    def find(self, key: bytes) -> int | None:
        """The block that holds the content."""
        return self._block_by_key.get(key)

    def insert(self, key: bytes, block: int) -> None:
        """Make the block findable, unless another already holds the same content."""
        if key not in self._block_by_key and block not in self._key_by_block:
            self._block_by_key[key] = block
            self._key_by_block[block] = key

    def forget(self, block: int) -> None:
        """The block's content is about to be overwritten."""
        key = self._key_by_block.pop(block, None)
        if key is not None:
            del self._block_by_key[key]

    def longest_match(
        self, keys: Sequence[bytes], needed_from: Sequence[int], on_disk: Container[bytes] = ()
    ) -> list[int | None]:
        """The blocks of the longest prefix that can be resumed from, ``ON_DISK`` for those whose keys are there alone.

        A prefix of n blocks can be resumed when blocks ``needed_from[n]`` to n - 1 are all here: all of them
        without a sliding window, the window's alone with one. Returns n entries, None for those not needed.
        """
        found = [self._block_by_key.get(key, ON_DISK if key in on_disk else None) for key in keys]
        run_start = _starts_of_runs(found)
        for n in range(len(found), 0, -1):
            if run_start[n - 1] <= needed_from[n]:
                return [block if i >= needed_from[n] else None for i, block in enumerate(found[:n])]
        return []

    def check_integrity(self) -> None:
        """Assert that the map is one to one."""
        assert {key: block for block, key in self._key_by_block.items()} == self._block_by_key


def _starts_of_runs(found: Sequence[int | None]) -> list[int]:
    """For each index, where the unbroken run of found blocks that ends there begins (index + 1 if it is a gap)."""
    starts: list[int] = []
    for i, block in enumerate(found):
        starts.append(i + 1 if block is None else starts[-1] if i and found[i - 1] is not None else i)
    return starts
