"""Running a list of calls on the pool: the same results however often, in however many threads."""

from __future__ import annotations

import pytest
import torch

from llmrt_kernels.cpu.library import load
from llmrt_kernels.cpu.linear import gated_linear, linear, rms_norm
from llmrt_kernels.cpu.tape import record
from tests.kernels.packing import random_weight


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_short_and_long_lists_in_turn(threads: int) -> None:
    """Lists follow each other while threads are still on their way out of the last one."""
    library = load()
    assert library is not None
    library.set_threads(threads)
    x, norm = torch.randn(3, 64), torch.randn(64)
    (up, _), (down, _) = random_weight((96, 96), 64, (4, 4), 32), random_weight((64,), 96, (4,), 32)
    with record() as tape:
        y = x
        for _ in range(6):
            y = linear(gated_linear(rms_norm(y, norm, 1e-5, 32), up), down, y)
    expected = y.clone()
    assert expected.isfinite().all()
    for _ in range(300):
        y.zero_()
        tape.run()
        assert torch.equal(y, expected)
        assert torch.equal(rms_norm(x, norm, 1e-5, 32).scales, rms_norm(x, norm, 1e-5, 32).scales)


def test_a_tape_reads_its_inputs_anew() -> None:
    x, (weight, _) = torch.randn(2, 32), random_weight((32,), 32, (8,), 32)
    with record() as tape:
        y = linear(rms_norm(x, torch.ones(32), 1e-5, 32), weight)
    x.copy_(torch.randn(2, 32))
    tape.run()
    assert torch.equal(y, linear(rms_norm(x, torch.ones(32), 1e-5, 32), weight))
