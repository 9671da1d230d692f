"""What the HTTP server costs by itself: streaming chats from an engine whose device computes nothing.

    python -m benchmarks.server_capacity [--json FILE] [--streams 1 8 64 256] [--steps 5 0] [--rounds 3]

``llmrt serve`` as it is by default, with the tokenizer and the chat template of SmolLM2, and so many clients that read
an answer each. A step of the engine takes ``--steps`` milliseconds, as on a fast GPU: then it shows what a token takes
of a core in each process. With 0 the engine never waits, and the server gives out what it can. What a request takes
comes from answers of a single token, asked for so many at once behind ``SEEN`` others. The clients are a process too,
and all of them share the machine's cores, so with few cores such a rate is a lower bound.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import psutil

from benchmarks.peers.client import WorkerError
from benchmarks.result import options_of, provenance, write
from benchmarks.serving.client import Reply, stream_chats
from benchmarks.serving.idle_server import WORKER
from benchmarks.serving.server import MODEL_ID, Server, free_port
from llmrt.server.runner import new_event_loop
from llmrt.server.standstill import processor_seconds

MODEL = "smollm2-135m"
SEEN = 4096  # requests; what the server remembers of them must not make a later one dearer
TOKENS, MOST_OUTPUT = 131072, 2048  # of a round, and of an answer: an engine that is far ahead must not be left


@dataclass(frozen=True)
class Used:
    """Seconds of a core that processes have used."""

    server: float
    engine: float
    client: float

    def less(self, other: Used, times: int = 1) -> Used:
        """What is left without ``other``, so many times."""
        return Used(*(mine - times * its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))

    def over(self, count: int) -> Used:
        """The part of one of ``count``."""
        return Used(*(each / count for each in vars(self).values()))


@dataclass(frozen=True)
class Burst:
    """Answers side by side: what they took of each process, and the seconds until the last one's end."""

    used: Used
    seconds: float


def idle_server(model: str, max_num_seqs: int, step_ms: float) -> Server:
    """The server before an engine that computes nothing, with room for so many streams."""
    port = free_port()
    module = "benchmarks.serving.idle_server"
    return Server([sys.executable, "-m", module, model, str(port), str(max_num_seqs), str(step_ms)], port, "/ready")


def burst(server: Server, streams: int, output: int) -> Burst:
    """So many answers of ``output`` tokens, asked for at once. Raises ``WorkerError`` if one is not whole."""
    before = _used(server)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        replies = runner.run(stream_chats(server.port, [_body(i, output) for i in range(streams)]))
    used = _used(server).less(before)
    for reply in replies:
        _check(reply, output)
    seconds = max(reply.times[-1] for reply in replies) - min(reply.begin for reply in replies)
    return Burst(used, seconds)


def _body(number: int, output: int) -> dict[str, Any]:
    message = {"role": "user", "content": f"What is the capital of country {number}?"}
    counted = {"stream": True, "stream_options": {"include_usage": True}}
    return {"model": MODEL_ID, "messages": [message], "max_tokens": output, **counted}


def _check(reply: Reply, output: int) -> None:
    if reply.status != 200 or not reply.is_whole or _num_tokens(reply) != output:
        raise WorkerError(f"an answer is not whole: status {reply.status}, {len(reply.events)} events, {reply.error()}")


def _num_tokens(reply: Reply) -> int:
    return json.loads(reply.events[-1].removeprefix(b"data: "))["usage"]["completion_tokens"]


def _used(server: Server) -> Used:
    children = psutil.Process(server.process.pid).children()  # templates have a process too
    (engine,) = [child.pid for child in children if WORKER in child.cmdline()]
    return Used(processor_seconds(server.process.pid), processor_seconds(engine), time.process_time())


def measure(server: Server, streams: int, output: int, request: Used) -> dict[str, float]:
    """The figures of one burst, without what each ``request`` takes that is answered by a single token."""
    done = burst(server, streams, output)
    rest = done.used.less(request, streams)
    micros = {f"{name}_us": 1e6 * seconds for name, seconds in asdict(rest.over(streams * (output - 1))).items()}
    return {
        "tokens_per_second": streams * output / done.seconds,
        **micros,
        "server_share": done.used.server / done.seconds,
    }


def request_cost(server: Server, count: int) -> Used:
    """What a request takes that is answered by a single token, the first ones of the server aside."""
    burst(server, count, 1)
    return burst(server, count, 1).used.over(count)


def measure_all(model: str, steps: Sequence[float], outputs: Mapping[int, int], rounds: int) -> list[dict[str, Any]]:
    """A row for each time of a step and number of streams, whose answers have so many tokens as ``outputs`` says."""
    rows: list[dict[str, Any]] = []
    for step_ms in steps:
        with idle_server(model, max(outputs), step_ms) as server:
            request = request_cost(server, max(outputs))
            for streams, output in outputs.items():
                runs = [measure(server, streams, output, request) for _ in range(rounds)]
                row = {"step_ms": step_ms, "streams": streams, "output": output, "request_ms": 1e3 * request.server}
                rows.append({**row, **{key: median(run[key] for run in runs) for key in runs[0]}, "runs": runs})
                print(_line(rows[-1]), flush=True)
    return rows


def measure_requests(model: str, at_once: Sequence[int], seen: int) -> list[dict[str, float]]:
    """What a request takes that is answered by a single token, for each number of those that are asked for at once."""
    most = max(at_once)
    with idle_server(model, most, 0.0) as server:
        for _ in range(seen // most):
            burst(server, most, 1)
        rows = [_request_row(server, count, most // count) for count in at_once]
    for row in rows:
        times = ", ".join(f"{name} {row[f'{name}_ms']:.2f} ms" for name in ("server", "engine"))
        print(f"{row['at_once']:3} requests at once: {row['wall_ms']:.2f} ms each; of a core one takes {times}")
    return rows


def _request_row(server: Server, count: int, rounds: int) -> dict[str, float]:
    bursts = [burst(server, count, 1) for _ in range(rounds)]
    requests = count * rounds
    return {
        "at_once": count,
        "wall_ms": 1e3 * sum(each.seconds for each in bursts) / requests,
        "server_ms": 1e3 * sum(each.used.server for each in bursts) / requests,
        "engine_ms": 1e3 * sum(each.used.engine for each in bursts) / requests,
    }


def _line(row: Mapping[str, Any]) -> str:
    pace = f"steps of {row['step_ms']:g} ms" if row["step_ms"] else "no pace"
    parts = ", ".join(f"{name} {row[f'{name}_us']:.0f} us" for name in ("server", "engine", "client"))
    return (
        f"{row['streams']:3} streams, {pace}: {row['tokens_per_second']:.0f} tok/s; of a core a token takes {parts};"
        f" the server has {row['server_share']:.0%} of one"
    )


def main() -> None:
    """Measure, print, write."""
    parser = options_of(__doc__, "server_capacity")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--steps", type=float, nargs="+", default=[5.0, 0.0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    outputs = {streams: min(MOST_OUTPUT, TOKENS // streams) for streams in options.streams}
    rows = measure_all(MODEL, options.steps, outputs, options.rounds)
    requests = measure_requests(MODEL, options.streams, SEEN)
    settings = {"model": MODEL, "rounds": options.rounds, "seen": SEEN}
    write({**provenance(), "settings": settings, "rows": rows, "requests": requests}, options.json)


if __name__ == "__main__":
    main()
