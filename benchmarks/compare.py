"""llmrt int4 against llama.cpp Q4_0, in alternation, on the same shapes and threads.

    python -m benchmarks.compare [--quick | --rows KEY ...] [--json FILE] [--resume]
    python -m benchmarks.compare --type Q4_K_M --quant stored --json FILE    # both read the same file

Each engine is a process of its own; both keep their model loaded and only one computes at a time. A pair of runs gives
a ratio; what is reported is the medians, and the ratios' median, smallest and largest. `make peers` first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.kernels.session import Session
from benchmarks.peers.client import ROOT, Client, WorkerError, llama_cpp_client, llmrt_client
from benchmarks.peers.files import model_file
from benchmarks.peers.pairs import Limits, measure_pairs
from benchmarks.peers.rows import QUICK, ROWS, Row
from benchmarks.peers.shapes import SHAPES
from benchmarks.result import options_of, write
from llmrt.cli.machine import this_machine
from llmrt.engine.hardware.threads import usable_cores


def main() -> None:
    """Measure the rows that are wanted, writing the JSON after each."""
    try:
        _compare(_options())
    except WorkerError as error:
        raise SystemExit(f"{error} What was measured so far is kept; --resume goes on from there.") from None


def _compare(options: argparse.Namespace) -> None:
    rows = [row for row in ROWS if not options.rows or row.key in options.rows]
    settings = {"threads": options.threads, "quant": options.quant, "type": options.type}
    settings |= {"kv_dtype": options.kv_dtype, "kv": options.kv}
    with llmrt_client() as own, llama_cpp_client(options.peer_python) as peer:
        report = {
            "llmrt": own.ask("info"),
            "llama_cpp": peer.ask("info"),
            "machine": asdict(this_machine()),
            "settings": settings,
            "limits": _limits(options.threads),
            "rows": _resumed(options.json, own, peer, settings) if options.resume else {},
        }
        todo = [row for row in rows if row.key not in report["rows"]]
        for (shape, _), group in groupby(todo, key=_loading):
            for row, figures in _measured(shape, list(group), own, peer, options):
                report["rows"][row.key] = figures
                print(*_lines(row, figures), sep="\n", flush=True)
                _write(options.json, report)
    _write(options.json, report)
    limits = report["limits"]
    print(f"read bandwidth {limits['read_bytes_per_second'] / 1e9:.1f} GB/s,", end=" ")
    print(f"8 bit dot products {limits['int8_operations_per_second'] / 1e9:.0f} GOP/s, {options.threads} threads")


def _limits(threads: int) -> dict[str, float]:
    session = Session.on(threads)
    return {
        "read_bytes_per_second": session.read_bandwidth,
        "int8_operations_per_second": session.dot_peak,
    }


def _loading(row: Row) -> tuple[str, bool]:
    """Rows that one load serves: a deep context has a load of its own."""
    return row.shape, row.depth > 0


def _measured(
    shape: str, rows: Sequence[Row], own: Client, peer: Client, options: argparse.Namespace
) -> Iterator[tuple[Row, dict[str, Any]]]:
    context, sequences = max(row.context for row in rows), max(row.batch for row in rows)
    todo = list(rows)
    common = {"context": context, "sequences": sequences, "threads": options.threads}
    try:
        file = model_file(shape, options.type, peer)
        loaded = own.ask("load", shape=shape, quant=options.quant, kv=options.kv_dtype, file=str(file), **common)
        loaded_peer = peer.ask("load", path=str(file), kv=options.kv, **common)
        for row in rows:
            limits = Limits(options.pairs, options.seconds)
            figures = measure_pairs(row, own, peer, limits)
            todo.remove(row)
            yield row, {**_about(row, loaded, loaded_peer), "file": file.name, **figures}
    except WorkerError as error:
        for row in todo:
            yield row, {**asdict(row), "skipped": str(error)}
    finally:
        own.ask("unload")
        peer.ask("unload")


def _about(row: Row, own: dict[str, Any], peer: dict[str, Any]) -> dict[str, Any]:
    return {
        **asdict(row),
        "title": SHAPES[row.shape].title,
        "llmrt_kv": own["kv"],
        "llmrt_read_bytes": own["read_bytes"],
        "llama_cpp_read_bytes": peer["read_bytes"],
        "llama_cpp_file_bytes": peer["file_bytes"],
        "llmrt_load_seconds": own["seconds"],
        "llama_cpp_load_seconds": peer["seconds"],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _lines(row: Row, figures: dict[str, Any]) -> Iterator[str]:
    if "skipped" in figures:
        yield f"{row.key:22} skipped: {figures['skipped']}"
        return
    for metric in row.metrics:
        f = figures[metric]
        yield (
            f"{row.key:22} {metric:8} llmrt {f['llmrt_median']:8.1f} tok/s   llama.cpp {f['llama_cpp_median']:8.1f}"
            f"   {f['ratio_median']:5.2f}x ({f['ratio_min']:.2f} to {f['ratio_max']:.2f}, {len(f['ratios'])} pairs)"
        )


def _resumed(file: Path, own: Client, peer: Client, settings: dict[str, Any]) -> dict[str, Any]:
    """The rows of an interrupted run, if it was made of the same things."""
    if not file.exists():
        return {}
    before = json.loads(file.read_text())
    now = {"llmrt": own.ask("info"), "llama_cpp": peer.ask("info"), "machine": asdict(this_machine())}
    for name, value in {**now, "settings": settings}.items():
        if before[name] != value:
            raise SystemExit(f"{file} was made with another {name}: {before[name]}, now {value}. Leave out --resume.")
    return {key: row for key, row in before["rows"].items() if "skipped" not in row}


def _write(file: Path, report: dict[str, Any]) -> None:
    rows = report["rows"]
    report["rows"] = {row.key: rows[row.key] for row in ROWS if row.key in rows}
    file.parent.mkdir(parents=True, exist_ok=True)
    write(report, file)


def _options() -> argparse.Namespace:
    parser = options_of(__doc__, "compare")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--rows", nargs="+", choices=[row.key for row in ROWS], metavar="KEY", help="these rows alone")
    which.add_argument(
        "--quick", action="store_const", const=QUICK, dest="rows", help="the small shapes at short depth"
    )
    parser.add_argument("--resume", action="store_true", help="keep the rows that the JSON file has")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs for a row at most")
    parser.add_argument("--seconds", type=float, default=45, help="begin no pair after so long on a row")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--quant", default="int4", help="of llmrt; stored: it reads llama.cpp's file")
    parser.add_argument("--kv-dtype", default="auto", help="llmrt's KV cache")
    parser.add_argument("--type", default="Q4_0", help="of llama.cpp's file")
    parser.add_argument("--kv", choices=("f16", "q8_0"), default="f16", help="llama.cpp's KV cache")
    parser.add_argument("--peer-python", type=Path, default=ROOT / ".venv-peers/bin/python")
    return parser.parse_args()


if __name__ == "__main__":
    main()
