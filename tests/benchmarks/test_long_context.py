"""The rate averaged over a prompt is that of its tokens' times added up."""

from __future__ import annotations

import pytest

from benchmarks.long_context import CONTEXT, DEPTHS, average_rate


def test_a_rate_that_does_not_change_is_the_average() -> None:
    assert average_rate([50.0] * len(DEPTHS)) == pytest.approx(50)


def test_times_that_grow_with_depth_are_added_up() -> None:
    def seconds(depth: float) -> float:
        return 0.002 + 1e-6 * depth

    added_up = sum(seconds(depth) for depth in range(CONTEXT))
    assert average_rate([1 / seconds(depth) for depth in DEPTHS]) == pytest.approx(CONTEXT / added_up, rel=1e-3)
