"""Memory of the KV cache is there before a block that lies in it is taken."""

from __future__ import annotations

import ctypes
import mmap
import platform
import random
import resource
import sys

import pytest

from llmrt.engine.kv.commit_ahead import CommitAhead, Stripe, commit_memory


@pytest.mark.parametrize(("size", "num_blocks"), [(24_576, 300), (64, 40), (4096, 5)])
def test_what_is_taken_next_was_asked_for_once(size: int, num_blocks: int) -> None:
    asked: list[int] = []

    def commit(address: int, num_bytes: int) -> None:
        assert address % size == 0 and num_bytes % size == 0
        asked.extend(range(address // size, (address + num_bytes) // size))

    memory = CommitAhead([Stripe(0, size)], num_blocks, commit)
    draw, highest = random.Random(0), -1
    while highest < num_blocks - 1:
        block = highest + 1 if draw.random() < 0.7 else draw.randrange(highest + 2)  # a new one, or one again
        highest = max(highest, block)
        if (thread := memory.take(block)) is not None:
            thread.join()
        assert asked == list(range(len(asked)))
        assert len(asked) >= min(highest + 8, num_blocks)


def has_the_call() -> bool:
    """Elsewhere memory is committed where it is written, which is as right and not as soon."""
    return sys.platform == "linux" and [int(part) for part in platform.release().split(".")[:2]] >= [5, 14]


@pytest.mark.skipif(not has_the_call(), reason="MADV_POPULATE_WRITE came with Linux 5.14")
def test_committed_memory_keeps_its_content_and_is_written_without_a_fault() -> None:
    num_pages = 300
    with mmap.mmap(-1, num_pages * mmap.PAGESIZE) as memory:
        memory[5 * mmap.PAGESIZE + 7] = 9
        commit_memory(ctypes.addressof(first := ctypes.c_char.from_buffer(memory)) + 5, len(memory) - 5)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for page in range(num_pages):
            memory[page * mmap.PAGESIZE] = 1
        assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < num_pages // 10
        assert memory[5 * mmap.PAGESIZE + 7] == 9
        del first
