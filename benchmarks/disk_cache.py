"""The first token behind a long prompt that a server before this one has computed: what the disk cache saves.

    python -m benchmarks.disk_cache [--json FILE] [--prompt 4096] [--rounds 5]

A round: a server with an empty cache gets a prompt, is stopped, and two successors get the same prompt, one that finds
the files in the page cache, as after a change of models, and one that does not, as after a night. All are ready and
have answered a short prompt before. Times are those of a client over HTTP.
Bar: the first token takes at most 15 % of the time that it took without the cache.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.page_cache import forget
from benchmarks.peers.client import ROOT
from benchmarks.result import options_of, provenance, write
from benchmarks.serving.client import body_of, stream
from benchmarks.serving.prompts import Prompts
from benchmarks.serving.server import llmrt_server
from llmrt.hub.prompts import prompts_bytes, prompts_folder, remove_prompts
from llmrt.hub.sources import resolve

BAR = 0.15
MODEL = "smollm2-135m"
QUANTS = ("int4", "int8")
_SHORT = 16
_SAVED_SECONDS = 1.0  # what the server gets to write the rest before it is stopped


async def first_token(port: int, prompt: list[int]) -> dict[str, Any]:
    """Seconds until the first token, the answer, and what the usage says of the cache."""
    reply = await stream(port, body_of(prompt, 8, stream_options={"include_usage": True}))
    details = reply.records()[-1]["usage"]["prompt_tokens_details"]
    return {"seconds": reply.times[0] - reply.begin, "text": reply.text(), **details}


async def ask(port: int, prompts: Prompts, prompt: list[int]) -> dict[str, Any]:
    """The first token of ``prompt`` from a server that has begun to answer."""
    await first_token(port, prompts.of(_SHORT))
    measured = await first_token(port, prompt)
    await asyncio.sleep(_SAVED_SECONDS)
    return measured


def run_round(model: Path, flags: list[str], prompts: Prompts, length: int) -> dict[str, Any]:
    """A prompt without the cache, and with it after each of two new starts."""
    remove_prompts()
    prompt = prompts.of(length)
    results: dict[str, Any] = {}
    for name in ("cold", "warm", "from_disk"):
        if name == "from_disk":
            for file in prompts_folder().rglob("*.kv"):
                forget(file)
        with llmrt_server(str(model), *flags) as server:
            results[name] = asyncio.run(ask(server.port, prompts, prompt))
    assert results["cold"]["cached_tokens"] == 0
    for name in ("warm", "from_disk"):
        assert results[name]["disk_tokens"] == results[name]["cached_tokens"] >= length - 64
    assert results["warm"]["text"] == results["from_disk"]["text"]
    same_text = results["warm"]["text"] == results["cold"]["text"]
    return {**results, "same_text": same_text, "bytes": prompts_bytes()}


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, and the ratios of each round."""
    names = ("cold", "warm", "from_disk")
    seconds = {f"{name}_seconds": median(each[name]["seconds"] for each in rounds) for name in names}
    ratios = {
        f"{name}_ratios": [each[name]["seconds"] / each["cold"]["seconds"] for each in rounds] for name in names[1:]
    }
    medians = {f"{name[:-1]}": median(values) for name, values in ratios.items()}
    same_texts = sum(each["same_text"] for each in rounds)
    return {**seconds, **medians, **ratios, "same_texts": same_texts, "bytes": rounds[0]["bytes"]}


def main() -> None:
    """Measure, print, write."""
    parser = options_of(__doc__, "disk_cache")
    parser.add_argument("--prompt", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report = {
        **provenance(),
        "settings": {"model": MODEL, "prompt": options.prompt, "rounds": options.rounds},
        "bars": {"warm_ratio": BAR},
        "figures": {},
    }
    model, prompts = resolve(MODEL, report=print).path, Prompts()
    for quant in QUANTS:
        flags = ["--quant", quant, "--ctx", "8k"]
        with TemporaryDirectory(dir=ROOT) as home:
            os.environ["LLMRT_HOME"] = home  # of the servers as well
            rounds = [run_round(model, flags, prompts, options.prompt) for _ in range(options.rounds)]
        figures = report["figures"][quant] = summary(rounds)
        print(
            f"{quant}: first token behind {options.prompt} tokens {figures['cold_seconds']:.2f} s,"
            f" after a restart {figures['warm_seconds']:.3f} s: {figures['warm_ratio']:.1%} (bar {BAR:.0%});"
            f" files not in memory {figures['from_disk_seconds']:.3f} s; {figures['bytes'] / 1e6:.0f} MB",
            flush=True,
        )
    write(report, options.json)


if __name__ == "__main__":
    main()
