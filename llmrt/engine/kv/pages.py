"""What moves between the KV cache and the disk. Free of torch."""

from __future__ import annotations

from typing import Any, Protocol


class HostPage(Protocol):
    """The keys and values of one block in the memory of the host."""

    def content(self) -> memoryview:
        """Its bytes; waits for them where a device still copies."""
        ...


class Pages(Protocol):
    """The blocks of a KV cache. Copies take place after the steps that were handed over before them."""

    num_bytes: int

    def empty(self) -> HostPage:
        """A page to read into."""
        ...

    def copy_out(self, block: int) -> HostPage:
        """Begin to copy a block."""
        ...

    def copy_in(self, page: Any, block: int) -> None:
        """Begin to overwrite a block by a page of ``empty``, which is not written to any more."""
        ...
