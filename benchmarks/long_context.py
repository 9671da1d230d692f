"""What a context of 32k costs: prompts on the way there, a whole one, and a decode step at its end beside a short one.

    python -m benchmarks.long_context [--json FILE] [--shapes 1.1b 7b] [--rounds 3] [--whole 1.1b]

int4 weights, int8 keys and values. A round takes prompts of 512 tokens behind 0 to 31.5k random ones, then decodes
behind none and behind those. The rate averaged over 32k follows from the times in between, taken as straight lines;
``--whole`` computes such a prompt once, to compare.
Bars: that rate keeps 40 % of the short prompt's in the 7B shape and 20 % in the 1.1B one; a step at the end takes at
most 1.2 and 1.8 times a short one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks.peers.client import Client, llmrt_client
from benchmarks.peers.shapes import SHAPES
from benchmarks.result import options_of, provenance, write
from llmrt.engine.hardware.threads import usable_cores

CONTEXT, PROMPT = 32768, 512
DEPTHS = (0, 8192, 16384, 24576, CONTEXT - PROMPT - 1)  # a token more comes out


@dataclass(frozen=True)
class Bar:
    """What is to be kept of a short prompt's rate, and how many short steps a deep one may take."""

    prefill: float
    step: float


BARS = {"1.1b": Bar(0.2, 1.8), "7b": Bar(0.4, 1.2)}
TOKENS = {"1.1b": 24, "7b": 8}  # of one decode: half a second or more


def average_rate(rates: Sequence[float]) -> float:
    """Of a prompt of ``CONTEXT`` tokens, from the tokens a second behind each of ``DEPTHS``.

    A token's time is taken as straight between two depths, and as constant within the last prompt.
    """
    ends = (*DEPTHS, CONTEXT)
    times = [1 / rate for rate in (*rates, rates[-1])]
    points = zip(ends, times, strict=True)
    return CONTEXT / sum((b - a) * (s + t) / 2 for (a, s), (b, t) in pairwise(points))


def measure_shape(client: Client, shape: str, rounds: int, whole: bool) -> dict[str, Any]:
    """The rates of each round, and what is kept at depth."""

    def rate(metric: str, prompt: int, gen: int, depth: int) -> float:
        return client.ask("measure", prompt=prompt, gen=gen, depth=depth, batch=1)[f"{metric}_rate"]

    gen = TOKENS[shape]
    rate("decode", 16, 2, 0)
    prefill: list[list[float]] = []
    decode: list[list[float]] = []
    for _ in range(rounds):
        prefill.append([rate("prefill", PROMPT, 1, depth) for depth in DEPTHS])
        decode.append([rate("decode", 16, gen, depth) for depth in (DEPTHS[0], CONTEXT - 16 - gen)])
    return {
        "title": SHAPES[shape].title,
        "depths": DEPTHS,
        "prefill": prefill,
        "decode": decode,
        "average_rate": median(map(average_rate, prefill)),
        "kept_of_prefill": median(average_rate(rates) / rates[0] for rates in prefill),
        "steps": median(short / deep for short, deep in decode),
        "whole_rate": rate("prefill", CONTEXT - 1, 1, 0) if whole else None,
    }


def main() -> None:
    """Measure, print, write."""
    parser = options_of(__doc__, "long_context")
    parser.add_argument("--shapes", nargs="*", choices=BARS, default=list(BARS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--whole", nargs="*", choices=BARS, default=[])
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    report: dict[str, Any] = provenance() | {"threads": options.threads, "shapes": {}}
    with llmrt_client() as client:
        for shape in options.shapes:
            settings = {"sequences": 1, "threads": options.threads, "quant": "int4", "kv": "int8"}
            client.ask("load", shape=shape, context=CONTEXT, **settings)
            figures = measure_shape(client, shape, options.rounds, shape in options.whole)
            client.ask("unload")
            report["shapes"][shape] = figures
            print(_line(shape, figures), flush=True)
    write(report, options.json)


def _line(shape: str, figures: dict[str, Any]) -> str:
    bar, whole = BARS[shape], figures["whole_rate"]
    line = (
        f"{shape:5} a prompt of 32k {figures['average_rate']:.1f} tok/s, {figures['kept_of_prefill']:.0%} of a short"
        f" one's (bar {bar.prefill:.0%}); a step at 32k takes {figures['steps']:.2f} short ones (bar {bar.step})"
    )
    return line if whole is None else f"{line}; computed whole {whole:.1f} tok/s"


if __name__ == "__main__":
    main()
