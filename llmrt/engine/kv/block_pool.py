"""Who holds which KV block. Free of torch.

A block is either held (its reference count is the number of block tables that name it) or free. The free list
is also the order of eviction: blocks are taken from its front. A freed block whose content may be asked for
again goes to the back and keeps its content until it is taken; one without such content goes to the front.

    front  [ worthless ... | cached, oldest use ... cached, newest use ]  back

Block 0 is the null block: it stands in block tables where a page has been given back (left of a sliding window)
and where padding needs an address. Nobody holds it and it is never free.
"""

from __future__ import annotations

from collections import OrderedDict

NULL_BLOCK = 0


class BlockPool:
    """Reference counts and the free list of ``num_blocks`` blocks, the null block among them."""

    def __init__(self, num_blocks: int) -> None:
        assert num_blocks >= 2, "a pool needs the null block and one more"
        self.num_blocks = num_blocks
        self._ref_counts = [0] * num_blocks
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(1, num_blocks))

    @property
    def num_free(self) -> int:
        """Blocks that ``take`` can still give."""
        return len(self._free)

    def is_free(self, block: int) -> bool:
        """Whether no block table names the block."""
        return block in self._free

    def take(self) -> int:
        """Take the block that is first to be evicted; the caller forgets what it held."""
        block, _ = self._free.popitem(last=False)
        self._ref_counts[block] = 1
        return block

    def share(self, block: int) -> None:
        """Name a block once more, reviving it if it was free."""
        assert block != NULL_BLOCK
        self._free.pop(block, None)
        self._ref_counts[block] += 1

    def release(self, block: int, *, keep: bool) -> None:
        """Name a block once less. With ``keep`` its content is worth evicting late."""
        assert self._ref_counts[block] > 0, f"block {block} is released more often than held"
        self._ref_counts[block] -= 1
        if self._ref_counts[block] == 0:
            self._free[block] = None
            self._free.move_to_end(block, last=keep)

    def check_integrity(self, holders: dict[int, int]) -> None:
        """Assert that the counts are those of ``holders`` (block -> tables naming it), and no block is lost."""
        assert NULL_BLOCK not in self._free and NULL_BLOCK not in holders
        for block in range(1, self.num_blocks):
            count = self._ref_counts[block]
            assert count == holders.get(block, 0), f"block {block}: counted {count}, held {holders.get(block, 0)}"
            assert (count == 0) == (block in self._free), f"block {block}: count {count}, free {block in self._free}"
