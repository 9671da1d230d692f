"""Requests side by side over HTTP: ``llmrt serve`` and llama.cpp's server in turn, and llmrt's engine without HTTP.

    python -m benchmarks.load [--json FILE] [--streams 1 8 32] [--rounds 3] [--llama-server FILE]

Each of ``--streams`` clients sends one prompt of 208 random tokens, which shares no prefix with any other, and reads 64
greedy tokens as they come. Both servers have SmolLM2 135M in 4 bits, the same threads and room for all clients at once,
and stay loaded; only one computes at a time. A round gives one ratio. Bars: llmrt writes 1.5 times as many tokens a
second with 1 client and twice as many with 8, and HTTP adds at most 10 % and 25 % to what the engine takes by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import time
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.client import ROOT, Client, WorkerError, llmrt_client
from benchmarks.peers.files import quantized_file
from benchmarks.result import options_of, write
from benchmarks.serving.client import Reply, body_of, stream
from benchmarks.serving.prompts import Prompts
from benchmarks.serving.server import PLAIN, Server, llama_server, llmrt_server
from llmrt.cli.machine import this_machine
from llmrt.engine.hardware.threads import usable_cores
from llmrt.server.runner import new_event_loop

SHAPE, QUANT = "smollm2", "int4"
PROMPT, OUTPUT = 208, 64
SPEED_BARS, HTTP_BARS = {1: 1.5, 8: 2.0}, {1: 0.10, 8: 0.25}
PAUSE = 0.3  # longer than an idle engine's threads wait before they sleep


@dataclass(frozen=True)
class Burst:
    """What the clients saw: tokens a second from the first request to the last token, and medians over the clients.

    ``client_share`` of one core was used by the clients themselves.
    """

    tokens_per_second: float
    seconds: float
    first_token_seconds: float
    client_share: float


async def burst(port: int, prompts: Sequence[list[int]], **fields: Any) -> Burst:
    """All prompts at once. Raises ``WorkerError`` if an answer is not whole."""
    processor, start = time.process_time(), time.perf_counter()
    replies = await asyncio.gather(*(stream(port, body_of(prompt, OUTPUT, **fields)) for prompt in prompts))
    seconds = time.perf_counter() - start
    for reply in replies:
        _check(reply)
    return Burst(
        tokens_per_second=len(prompts) * OUTPUT / seconds,
        seconds=seconds,
        first_token_seconds=median(reply.times[0] - reply.begin for reply in replies),
        client_share=(time.process_time() - processor) / seconds,
    )


def run(work: Coroutine[Any, Any, Burst]) -> Burst:
    """Its result, on the loop that costs the least."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)


def _check(reply: Reply) -> None:
    if reply.status != 200 or not reply.is_whole or reply.error():
        raise WorkerError(f"an answer ended early: status {reply.status}, {len(reply.events)} events, {reply.error()}")


def engine_seconds(engine: Client, streams: int) -> float:
    """What the same prompts and answers take in an engine alone."""
    rates = engine.ask("measure", prompt=PROMPT, gen=OUTPUT, depth=0, batch=streams)
    return streams * (PROMPT / rates["prefill_rate"] + (OUTPUT - 1) / rates["decode_rate"])


def measure(streams: int, rounds: int, own: Server, peer: Server, engine: Client, prompts: Prompts) -> dict[str, Any]:
    """Rounds of all three, in turn, behind one that does not count."""
    figures: dict[str, list[Any]] = {"llmrt": [], "llama_cpp": [], "engine_seconds": []}
    for _ in range(rounds + 1):
        drawn = [prompts.of(PROMPT) for _ in range(streams)]
        time.sleep(PAUSE)
        figures["llmrt"].append(asdict(run(burst(own.port, drawn))))
        time.sleep(PAUSE)
        figures["llama_cpp"].append(asdict(run(burst(peer.port, drawn, cache_prompt=False))))
        time.sleep(PAUSE)
        figures["engine_seconds"].append(engine_seconds(engine, streams))
    counted = {name: values[1:] for name, values in figures.items()}
    pairs = list(zip(counted["llmrt"], counted["llama_cpp"], counted["engine_seconds"], strict=True))
    return {
        **counted,
        "ratio": median(a["tokens_per_second"] / b["tokens_per_second"] for a, b, _ in pairs),
        "http_adds": median(a["seconds"] / seconds - 1 for a, _, seconds in pairs),
        "llmrt_median": median(a["tokens_per_second"] for a, _, _ in pairs),
        "llama_cpp_median": median(b["tokens_per_second"] for _, b, _ in pairs),
        "bars": {"ratio": SPEED_BARS.get(streams), "http_adds": HTTP_BARS.get(streams)},
    }


def peer_file(binary: Path) -> Path:
    """SmolLM2 in Q4_0, by the quantizer beside llama.cpp's server."""
    quantizer = binary.resolve().with_name("llama-quantize")

    def quantize(source: Path, to: Path) -> None:
        command = [str(quantizer), "--allow-requantize", str(source), str(to), "Q4_0"]
        subprocess.run(command, check=True, capture_output=True)

    return quantized_file(SHAPE, quantize)


def _options() -> argparse.Namespace:
    parser = options_of(__doc__, "load")
    parser.add_argument("--streams", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--llama-server", type=Path, default=ROOT / ".venv-peers/bin/llama-server")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    options = _options()
    most, threads = max(options.streams), str(options.threads)
    context = PROMPT + OUTPUT + 16
    with ExitStack() as stack:
        own_flags = ("--quant", QUANT, "--ctx", str(context), "--max-num-seqs", str(most), "--threads", threads, *PLAIN)
        own = stack.enter_context(llmrt_server("smollm2-135m", *own_flags))
        peer_flags = ("-c", str(context * most), "-np", str(most), "-t", threads, "-fa", "on", "--no-kv-unified")
        file = peer_file(options.llama_server)
        peer = stack.enter_context(llama_server(options.llama_server, file, *peer_flags))
        engine = stack.enter_context(llmrt_client())
        info = engine.ask("info")
        engine.ask(
            "load",
            shape=SHAPE,
            context=context,
            sequences=most,
            threads=options.threads,
            quant=QUANT,
            kv="auto",
        )
        report: dict[str, Any] = {
            "llmrt": info,
            "llama_cpp": {"version": _version(options.llama_server), "flags": peer_flags, "file": file.name},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": asdict(this_machine()),
            "settings": {"prompt": PROMPT, "output": OUTPUT, "threads": options.threads, "flags": own_flags},
            "streams": {},
        }
        prompts = Prompts()
        for streams in options.streams:
            figures = report["streams"][str(streams)] = measure(streams, options.rounds, own, peer, engine, prompts)
            print(
                f"{streams:3} clients: llmrt {figures['llmrt_median']:.0f} tok/s, llama.cpp"
                f" {figures['llama_cpp_median']:.0f}, ratio {figures['ratio']:.2f};"
                f" HTTP adds {figures['http_adds']:.0%}",
                flush=True,
            )
    write(report, options.json)


def _version(binary: Path) -> str:
    done = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).strip().splitlines()[0]


if __name__ == "__main__":
    main()
