"""The KV cache as the scheduler sees it: blocks for a request, or none left. Free of torch.

Token position p of a request lives in ``block_table[p // block_size]`` at offset ``p % block_size``:

    positions      0 ........ a ............... num_computed_tokens ....... allocated
    block_table   [ null ... | held, content final | held, being written   ]

a is 0 without a sliding window; with one, blocks that no later query can see are given back and their entries
become the null block. Full blocks of final content are entered in the prefix cache; they stay findable after
they are freed, until the pool hands them out again. With a disk cache those of prompts are saved there, and a prefix
that is found there is read into blocks that its request holds already; while it ``is_loading`` nothing is computed.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

from llmrt.engine.kv.block_pool import NULL_BLOCK, BlockPool
from llmrt.engine.kv.commit_ahead import CommitAhead
from llmrt.engine.kv.disk_cache import DiskCache, NoDiskCache
from llmrt.engine.kv.disk_loader import Place
from llmrt.engine.kv.expected_blocks import ExpectedBlocks
from llmrt.engine.kv.prefix_cache import ON_DISK, PrefixCache, extend_block_keys
from llmrt.engine.request import Request, empty_table


def blocks_for(num_tokens: int, block_size: int) -> int:
    """Blocks that hold ``num_tokens`` tokens."""
    return -(-num_tokens // block_size)


def peak_blocks(num_tokens: int, chunk: int, block_size: int, sliding_window: int | None) -> int:
    """The most blocks held at once by ``num_tokens`` tokens computed ``chunk`` at a time.

    With a sliding window: what the chunk's first query sees, the chunk, and a partly visible block on the left.
    """
    whole = blocks_for(num_tokens, block_size)
    if sliding_window is None:
        return whole
    return min(whole, blocks_for(sliding_window + chunk, block_size) + 1)


class KVCacheManager:
    """Gives blocks to requests and takes them back; finds prefixes that were computed before."""

    def __init__(
        self,
        num_blocks: int,
        block_size: int,
        *,
        sliding_window: int | None = None,
        prefix_caching: bool = True,
        disk: DiskCache | None = None,
        memory: CommitAhead | None = None,
    ) -> None:
        self.block_size = block_size
        self._window = sliding_window
        self._pool = BlockPool(num_blocks)
        self._prefix_cache = PrefixCache()
        self._prefix_caching = prefix_caching
        self._expected = ExpectedBlocks()
        self._disk = disk or NoDiskCache()
        self._memory = memory
        self.num_queried_tokens = 0  # looked for in the prefix cache, of all requests
        self.num_found_tokens = 0
        self.num_disk_queried_tokens = 0  # the rest, if there is a disk
        self.num_read_tokens = 0

    def peak_blocks(self, num_tokens: int, chunk: int) -> int:
        """The most blocks that a request of ``num_tokens`` tokens ever holds when it computes ``chunk`` at a time."""
        return peak_blocks(num_tokens, chunk, self.block_size, self._window)

    @property
    def num_free_blocks(self) -> int:
        """Blocks that no running request holds."""
        return self._pool.num_free

    @property
    def num_blocks(self) -> int:
        """Blocks that requests can hold."""
        return self._pool.num_blocks - 1  # without the null block

    @property
    def usage(self) -> float:
        """The share of the blocks that requests hold."""
        return 1 - self._pool.num_free / self.num_blocks

    def start_from_cache(self, request: Request) -> bool:
        """Start ``request`` from the longest prefix in the cache, or have that read from the disk.

        One token at least is left to compute, for its logits choose the next. The request holds no block yet. False,
        and nothing taken, while the same prefix is read or computed for another request.
        """
        assert not request.block_table and request.num_computed_tokens == 0
        if not self._prefix_caching:
            return True
        blocks = self._match(request)
        missing = [i for i, block in enumerate(blocks) if block == ON_DISK]
        if missing and self._disk.is_loading(request.block_keys[missing[0]]):
            return False
        if self._is_expected(request, len(blocks)):
            return False
        self._hold(request, blocks)
        self._count_found(request, len(blocks), len(missing))
        if missing:
            request.is_loading = True
            self._disk.begin(request, [Place(request.block_keys[i], request.block_table[i]) for i in missing])
        else:
            self._resume(request)
        return True

    def _count_found(self, request: Request, num_blocks: int, num_on_disk: int) -> None:
        num_found = (num_blocks - num_on_disk) * self.block_size
        self.num_queried_tokens += len(request.token_ids)
        self.num_found_tokens += num_found
        if isinstance(self._disk, DiskCache):
            self.num_disk_queried_tokens += len(request.token_ids) - num_found
        if request.num_output_tokens == 0:
            request.num_cached_tokens = num_blocks * self.block_size
            request.num_disk_tokens = num_on_disk * self.block_size

    def announce(self, request: Request) -> None:
        """Tell the others which full blocks ``request`` is going to compute, so that they can wait for those."""
        if self._prefix_caching:
            self._expected.expect(request, self._keys(request)[len(request.block_table) :])

    def _is_expected(self, request: Request, num_found: int) -> bool:
        """Whether waiting for others spares it at least half of the blocks that it would have to compute."""
        most = (len(request.token_ids) - 1) // self.block_size
        count = self._expected.count(request.block_keys[num_found:most])
        return 0 < count >= (most - num_found) / 2

    def _match(self, request: Request) -> list[int | None]:
        """See ``PrefixCache.longest_match``; without the disk where there are too few blocks to read into."""
        most = (len(request.token_ids) - 1) // self.block_size
        keys = self._keys(request)[:most]
        needed_from = [self._first_visible_block(n * self.block_size) for n in range(most + 1)]
        blocks = self._prefix_cache.longest_match(keys, needed_from, self._disk)
        taken = sum(block is not None and (block == ON_DISK or self._pool.is_free(block)) for block in blocks)
        return blocks if taken <= self._pool.num_free else self._prefix_cache.longest_match(keys, needed_from)

    def _keys(self, request: Request) -> list[bytes]:
        """Those of all blocks that its tokens fill."""
        extend_block_keys(request.block_keys, request.token_ids, self.block_size, request.cache_salt)
        return request.block_keys

    def _hold(self, request: Request, blocks: Sequence[int | None]) -> None:
        """Fill the block table of ``request`` with ``blocks``, in the place of those on disk with free ones."""
        for block in blocks:
            if block is not None and block != ON_DISK:
                self._pool.share(block)
        table = (NULL_BLOCK if block is None else self._take() if block == ON_DISK else block for block in blocks)
        request.block_table = array("q", table)

    def _resume(self, request: Request) -> None:
        """All blocks that ``request`` holds are computed."""
        request.num_computed_tokens = len(request.block_table) * self.block_size
        self._disk.keep(request, 0, len(request.block_table))

    @property
    def has_disk_work(self) -> bool:
        """Whether blocks are on their way from or to the disk."""
        return self._disk.has_work

    def advance_disk(self, *, wait: bool) -> Request | None:
        """Copy blocks from and to the disk for a moment; with ``wait``, wait a moment for some to be there.

        Returns a request some of whose blocks were lost. It has to be freed and begun again: what came is in the prefix
        cache.
        """
        if wait:
            self._disk.wait()
        ended = self._disk.advance(self._prefix_cache.find, self._found)
        if ended is None:
            return None
        request, is_whole = ended
        if not is_whole:
            return request
        request.is_loading = False
        self._resume(request)
        return None

    def _found(self, place: Place) -> None:
        self._prefix_cache.insert(*place)
        self.num_read_tokens += self.block_size

    def allocate_slots(self, request: Request, num_tokens: int) -> bool:
        """Hold blocks for the request's next ``num_tokens`` tokens; False, and nothing taken, if too few are free."""
        end = request.num_computed_tokens + num_tokens
        if end <= len(request.block_table) * self.block_size:
            return True
        missing = blocks_for(end, self.block_size) - len(request.block_table)
        if missing > self._pool.num_free:
            return False
        for _ in range(missing):
            request.block_table.append(self._take())
        return True

    def _take(self) -> int:
        block = self._pool.take()
        if self._memory is not None:
            self._memory.take(block)
        self._prefix_cache.forget(block)
        return block

    def mark_computed(self, request: Request, num_tokens: int) -> None:
        """The request's next ``num_tokens`` tokens are in the cache: share full blocks, drop what no query sees."""
        start, size = request.num_computed_tokens, self.block_size
        request.num_computed_tokens = end = start + num_tokens
        first_open, next_open = start // size, end // size
        if next_open > first_open and self._prefix_caching:
            self._share(request, first_open, next_open)
        if self._window is not None:
            self._give_back(request, self._first_visible_block(end))

    def _share(self, request: Request, start: int, end: int) -> None:
        """Blocks ``start`` to ``end`` of ``request`` are full."""
        keys = self._keys(request)
        for i in range(start, end):
            self._prefix_cache.insert(keys[i], request.block_table[i])
            self._expected.came(keys[i])
        self._disk.keep(request, start, min(end, request.num_prompt_tokens // self.block_size))

    def free(self, request: Request) -> None:
        """Take back every block of ``request``; its last ones are evicted first, for fewer prompts share them."""
        self._disk.drop(request)
        self._expected.drop(request)
        request.is_loading = False
        self._give_back(request, len(request.block_table))
        request.block_table = empty_table()
        request.num_computed_tokens = 0

    def _first_visible_block(self, num_computed_tokens: int) -> int:
        """The first block that a query at position ``num_computed_tokens`` or later can see.

        Query q sees keys q - window + 1 to q.
        """
        if self._window is None:
            return 0
        return max(0, num_computed_tokens - self._window + 1) // self.block_size

    def _give_back(self, request: Request, end: int) -> None:
        for i in range(end - 1, -1, -1):
            block = request.block_table[i]
            if block == NULL_BLOCK:
                break  # what lies further left went earlier
            request.block_table[i] = NULL_BLOCK
            self._pool.release(block, keep=block in self._prefix_cache)

    def check_integrity(self, requests: Iterable[Request]) -> None:
        """Assert that the blocks held are those in the tables of ``requests``, and that the parts agree."""
        requests = [*requests]
        holders = Counter(block for r in requests for block in r.block_table if block != NULL_BLOCK)
        self._pool.check_integrity(holders)
        self._prefix_cache.check_integrity()
        self._expected.check_integrity(requests)
