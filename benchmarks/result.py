"""What the benchmarks begin and end with: options, and figures in a JSON file that says where they are from."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peers.client import ROOT, commit
from llmrt.cli.machine import this_machine

RESULTS = ROOT / "benchmarks/results"


def options_of(about: str | None, name: str) -> ArgumentParser:
    """Those that every benchmark has. ``about`` is the docstring of the one that writes the file ``name``."""
    parser = ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=RESULTS / f"{name}.json", help="where the figures go")
    return parser


def provenance() -> dict[str, Any]:
    """The first entries of a report: the checkout, the day and the machine."""
    return {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(this_machine()),
    }


def write(report: dict[str, Any], file: Path) -> None:
    """In a form whose changes can be read."""
    file.write_text(json.dumps(report, indent=1) + "\n")
