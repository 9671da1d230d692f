"""A long prompt beside answers that are being written, by SmolLM2 int4 and ``llmrt serve``: what each costs the other.

    python -m benchmarks.fairness [--json FILE] [--prompt 4096] [--streams 8] [--rounds 5]

A round: the prompt alone, and then while ``--streams`` answers are streaming. Times are those of a client over HTTP.
Bars: of the gaps between tokens while the prompt is computed, 99 % are at most 5 times the median before it; and its
first token takes at most twice as long as alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from statistics import median, quantiles
from typing import Any

from benchmarks.result import options_of, provenance, write
from benchmarks.serving.client import Reply, body_of, stream
from benchmarks.serving.prompts import Prompts
from benchmarks.serving.server import PLAIN, llmrt_server

GAP_BAR, PROMPT_BAR = 5.0, 2.0
MODEL, FLAGS = "smollm2-135m", ("--quant", "int4", "--ctx", "8k", *PLAIN)
_BEFORE_SECONDS = 2.0  # of streaming, before the prompt comes
_SHORT_PROMPT, _ENDLESS = 16, 6000  # tokens in and out of a stream, which is left when the prompt is done


async def run_round(port: int, prompts: Prompts, length: int, num_streams: int) -> dict[str, Any]:
    """The prompt alone, then beside the streams; seconds."""
    alone = await stream(port, body_of(prompts.of(length), 1))
    replies = [Reply() for _ in range(num_streams)]
    streams = [
        asyncio.create_task(stream(port, body_of(prompts.of(_SHORT_PROMPT), _ENDLESS), reply)) for reply in replies
    ]
    await asyncio.sleep(_BEFORE_SECONDS)
    beside = await stream(port, body_of(prompts.of(length), 1))
    for task in streams:
        task.cancel()
    await asyncio.wait(streams)
    return {
        "alone_seconds": alone.times[0] - alone.begin,
        "beside_seconds": beside.times[0] - beside.begin,
        "gaps_before": _gaps(replies, beside.begin - _BEFORE_SECONDS / 2, beside.begin),
        "gaps_beside": _gaps(replies, beside.begin, beside.times[0]),
    }


def _gaps(replies: Sequence[Reply], start: float, end: float) -> list[float]:
    """Between the tokens of each stream, where the later one came from ``start`` to ``end``."""
    return [later - sooner for reply in replies for sooner, later in pairwise(reply.times) if start <= later <= end]


def summary(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over all rounds: every gap counts, and a round's prompt is compared with itself alone."""
    before, beside = ([gap for each in rounds for gap in each[key]] for key in ("gaps_before", "gaps_beside"))
    typical, worst = median(before), quantiles(beside, n=100)[98]
    ratios = [each["beside_seconds"] / each["alone_seconds"] for each in rounds]
    return {
        "gap_before_median": typical,
        "gap_before_p99": quantiles(before, n=100)[98],
        "gap_beside_median": median(beside),
        "gap_beside_p99": worst,
        "gap_beside_max": max(beside),
        "num_gaps_beside": len(beside),
        "gap_ratio": worst / typical,
        "alone_seconds": median(each["alone_seconds"] for each in rounds),
        "beside_seconds": median(each["beside_seconds"] for each in rounds),
        "prompt_ratio": median(ratios),
        "prompt_ratios": ratios,
    }


def main() -> None:
    """Measure, print, write."""
    parser = options_of(__doc__, "fairness")
    parser.add_argument("--prompt", type=int, default=4096)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    prompts = Prompts()
    with llmrt_server(MODEL, *FLAGS, "--max-num-seqs", str(options.streams + 1)) as server:
        rounds = [
            asyncio.run(run_round(server.port, prompts, options.prompt, options.streams))
            for _ in range(options.rounds + 1)
        ][1:]  # the first one warms up
    figures = summary(rounds)
    settings = {"model": MODEL, "flags": FLAGS, "prompt": options.prompt, "streams": options.streams}
    report = {
        **provenance(),
        "settings": {**settings, "rounds": options.rounds},
        "bars": {"gap_ratio": GAP_BAR, "prompt_ratio": PROMPT_BAR},
        "figures": figures,
    }
    write(report, options.json)
    print(
        f"gap between tokens {1000 * figures['gap_before_median']:.1f} ms, beside the prompt 99 % within"
        f" {1000 * figures['gap_beside_p99']:.1f} ms: {figures['gap_ratio']:.2f} times (bar {GAP_BAR:g})\n"
        f"prompt of {options.prompt} tokens {figures['alone_seconds']:.2f} s, beside {options.streams} streams"
        f" {figures['beside_seconds']:.2f} s: {figures['prompt_ratio']:.2f} times (bar {PROMPT_BAR:g})"
    )


if __name__ == "__main__":
    main()
