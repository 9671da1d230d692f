"""Where figures are from: the checkout, the day and the machine, as the head of a result's JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from benchmarks.peers.client import commit
from llmrt.cli.machine import this_machine


def provenance() -> dict[str, Any]:
    """The first entries of a report."""
    return {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(this_machine()),
    }
