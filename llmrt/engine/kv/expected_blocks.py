"""Blocks that running requests are about to compute, by their keys. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

from llmrt.engine.request import Request


class ExpectedBlocks:
    """Who wants the same blocks can wait for them. Of several requests that compute a block, the first counts."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, Request] = {}

    def expect(self, request: Request, keys: Iterable[bytes]) -> None:
        """``request`` computes the blocks ``keys`` from now on."""
        for key in keys:
            self._by_key.setdefault(key, request)

    def came(self, key: bytes) -> None:
        """The block is in the prefix cache."""
        self._by_key.pop(key, None)

    def drop(self, request: Request) -> None:
        """``request`` computes no more."""
        for key in request.block_keys:
            if self._by_key.get(key) is request:
                del self._by_key[key]

    def count(self, keys: Sequence[bytes]) -> int:
        """How many of ``keys``, from the first on, are expected."""
        return sum(1 for _ in takewhile(self._by_key.__contains__, keys))

    def check_integrity(self, requests: Iterable[Request]) -> None:
        """Assert that ``requests`` are those who compute."""
        assert {*self._by_key.values()} <= {*requests}
