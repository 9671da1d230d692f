"""Times of kernels without the host's: a graph launches them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import torch

RUNS = 15


def graph_seconds(calls: Sequence[Callable[[], object]]) -> float:
    """Median time of one of ``calls`` when a graph makes them all, one after the other."""
    for call in calls[:2]:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    graph.replay()
    return median(_replay_seconds(graph) for _ in range(RUNS)) / len(calls)


def _replay_seconds(graph: torch.cuda.CUDAGraph) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    graph.replay()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000
