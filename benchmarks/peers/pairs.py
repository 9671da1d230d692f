"""One row, measured on two workers in turn."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.peers.client import Client
from benchmarks.peers.rows import Row

# Longer than any waiting loop of either engine: the idle one sleeps before the other is timed.
PAUSE = 0.2


@dataclass(frozen=True)
class Limits:
    """``pairs`` of runs at most, and no new one begun after ``seconds``."""

    pairs: int
    seconds: float


def measure_pairs(row: Row, own: Client, peer: Client, limits: Limits) -> dict[str, Any]:
    """Run the row A B A B; each metric's rates in the order of the pairs. Raises ``WorkerError``."""
    for client in (own, peer):
        client.ask("measure", prompt=16, gen=2, depth=0, batch=row.batch)
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    start = time.monotonic()
    while len(pairs) < limits.pairs and (not pairs or time.monotonic() - start < limits.seconds):
        pairs.append((_run(row, own), _run(row, peer)))
    return {metric: _figures(metric, pairs) for metric in row.metrics}


def _run(row: Row, client: Client) -> dict[str, Any]:
    time.sleep(PAUSE)
    return client.ask("measure", prompt=row.prompt, gen=row.gen, depth=row.depth, batch=row.batch)


def _figures(metric: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    own, peer = ([pair[side][f"{metric}_rate"] for pair in pairs] for side in (0, 1))
    ratios = [a / b for a, b in zip(own, peer, strict=True)]
    return {
        "llmrt": own,
        "llama_cpp": peer,
        "llmrt_median": median(own),
        "llama_cpp_median": median(peer),
        "ratios": ratios,
        "ratio_median": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }
