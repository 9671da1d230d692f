"""Decode speed on a machine that is not idle: more threads than cores, and two processes side by side.

    python -m benchmarks.sharing [--json FILE]

Bars: with twice as many threads as cores half the speed is kept; each of two processes keeps 35 % of its own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.peers.client import Client, llmrt_client
from benchmarks.peers.shapes import SHAPES
from benchmarks.result import options_of, write
from llmrt.cli.machine import this_machine
from llmrt.engine.hardware.threads import usable_cores

THREADS_BAR, NEIGHBOUR_BAR = 0.50, 0.35
# Tokens of one run: a second or two of decoding, so that two processes overlap for nearly all of it.
TOKENS = {"smollm2": 256, "1.1b": 64}


def decode_rate(client: Client, shape: str) -> float:
    return client.ask("measure", prompt=16, gen=TOKENS[shape], depth=0, batch=1)["decode_rate"]


def measure_shape(shape: str, threads: int, quant: str, repeat: int) -> dict[str, Any]:
    """Alone, beside an engine of the same kind, and with twice the threads, in turn; medians of ``repeat`` rounds."""
    with ExitStack() as stack:
        first, second, crowded = clients = [stack.enter_context(llmrt_client()) for _ in range(3)]
        for client, count in zip(clients, (threads, threads, 2 * threads), strict=True):
            client.ask("load", shape=shape, context=512, sequences=1, threads=count, quant=quant, kv="auto")
            decode_rate(client, shape)
        pool = stack.enter_context(ThreadPoolExecutor(2))
        rounds = [
            {
                "alone": [decode_rate(first, shape), decode_rate(second, shape)],
                "side_by_side": list(pool.map(decode_rate, (first, second), (shape, shape))),
                "twice_the_threads": decode_rate(crowded, shape),
            }
            for _ in range(repeat)
        ]
    alone = [median(each["alone"][i] for each in rounds) for i in (0, 1)]
    beside = [median(each["side_by_side"][i] for each in rounds) for i in (0, 1)]
    return {
        "title": SHAPES[shape].title,
        "rounds": rounds,
        "alone": alone,
        "side_by_side": beside,
        "twice_the_threads": median(each["twice_the_threads"] for each in rounds),
        "kept_with_twice_the_threads": median(each["twice_the_threads"] / each["alone"][0] for each in rounds),
        "kept_side_by_side": min(b / a for a, b in zip(alone, beside, strict=True)),
    }


def main() -> None:
    """Measure, print, write."""
    parser = options_of(__doc__, "sharing")
    parser.add_argument("--shapes", nargs="*", choices=TOKENS, default=list(TOKENS))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--quant", default="int4")
    options = parser.parse_args()
    with llmrt_client() as own:
        info = own.ask("info")
    report = {
        "llmrt": info,
        "machine": asdict(this_machine()),
        "threads": options.threads,
        "quant": options.quant,
        "bars": {"twice_the_threads": THREADS_BAR, "side_by_side": NEIGHBOUR_BAR},
        "shapes": {},
    }
    for shape in options.shapes:
        figures = report["shapes"][shape] = measure_shape(shape, options.threads, options.quant, options.repeat)
        print(
            f"{shape:8} alone {figures['alone'][0]:.1f} tok/s; twice the threads keep"
            f" {figures['kept_with_twice_the_threads']:.0%} (bar {THREADS_BAR:.0%}); each of two processes keeps"
            f" {figures['kept_side_by_side']:.0%} (bar {NEIGHBOUR_BAR:.0%})",
            flush=True,
        )
    write(report, options.json)


if __name__ == "__main__":
    main()
