"""Running a list of calls on the pool: the same results however often, in however many threads."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.cpu.elementwise import add_rms_norm, silu_mul
from llmrt_kernels.cpu.library import load
from llmrt_kernels.cpu.tape import record


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_short_and_long_lists_in_turn(threads: int) -> None:
    """Lists follow each other while threads are still on their way out of the last one."""
    library = load()
    assert library is not None
    library.set_threads(threads)
    x, weight = torch.randn(3, 64), torch.randn(64)
    with record() as tape:
        y, total = x, None
        for _ in range(20):
            y, total = add_rms_norm(y, total, weight, 1e-5)
        z = silu_mul(y)
    expected = z.clone()
    for _ in range(300):
        z.zero_()
        tape.run()
        assert torch.equal(z, expected)
        assert torch.equal(silu_mul(y), expected)


def test_a_tape_reads_its_inputs_anew() -> None:
    x, weight = torch.randn(2, 32), torch.ones(32)
    with record() as tape:
        normed, _ = add_rms_norm(x, None, weight, 1e-5)
    x.copy_(torch.randn(2, 32))
    tape.run()
    torch.testing.assert_close(normed, x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt())
