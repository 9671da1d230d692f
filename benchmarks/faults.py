"""What a server does when things go wrong around it: ``llmrt serve`` with SmolLM2 int4, and a client that checks it.

    python -m benchmarks.faults [--json FILE] [--vanish 500] [--fuzz 2000] [--seed 0]

Clients that vanish, malformed bodies, clients that do not read, a killed engine, SIGTERM under load, a disk that is
full when the packed weights are to be kept. Meanwhile and afterwards known prompts must get the answers that they got
alone. Memory and open files are compared with those after a first round of the same faults, so that what is built once
and kept does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.result import options_of, provenance, write
from benchmarks.serving.prompts import Prompts
from benchmarks.serving.server import Server, llmrt_server
from benchmarks.serving.trials import Watch, fuzz, kill_engine, read_slowly, resources, terminate, vanish
from llmrt.cli.bench_target import named_target

MODEL, STALL_SECONDS = "smollm2-135m", 3.0
FLAGS = ("--quant", "int4", "--ctx", "1024", "--stall-seconds", f"{STALL_SECONDS:g}")
_FULL_DISK_KB = 20_000  # less than the packed weights


async def disturb(server: Server, watch: Watch, options: argparse.Namespace, scale: float) -> dict[str, Any]:
    """The faults that a server lives through, while known prompts are asked for. ``scale`` of their number."""
    draw, prompts, port = random.Random(options.seed), Prompts(options.seed + 1), server.port
    gone = await watch.check(vanish(port, int(scale * options.vanish), prompts, draw))
    unread = await watch.check(read_slowly(port, 8, 3 * STALL_SECONDS * scale, prompts))
    statuses: dict[str, int] = {}

    async def malformed() -> None:
        statuses.update(await fuzz(port, int(scale * options.fuzz), draw))

    broken = await watch.check(malformed())
    await asyncio.sleep(2 * STALL_SECONDS)  # whoever did not read is left by then
    return {
        "vanished_clients": {"clients": int(scale * options.vanish), "watched": gone},
        "clients_that_do_not_read": {"clients": 8, "watched": unread},
        "malformed_bodies": {"statuses": statuses, "watched": broken},
        "afterwards": await watch.check(),
    }


async def run(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    """All faults but the full disk; the server is ended by the last."""
    prompts = Prompts(options.seed + 2)
    watch = Watch(server.port, prompts, 6)
    await watch.learn()
    await disturb(server, watch, options, 0.2)
    before = resources(server)
    report = await disturb(server, watch, options, 1.0)
    report["resources"] = {"before": before, "after": resources(server)}
    report["killed_engine"] = await kill_engine(server, prompts, 8) | {"watched_afterwards": await watch.check()}
    report["sigterm"] = await terminate(server, prompts, 8, 60)
    return report


def full_disk(seed: int) -> dict[str, Any]:
    """A first start that may write no file as large as the packed weights: it serves, and leaves nothing behind."""
    source = named_target(MODEL, None).path
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / source.name
        shutil.copy(source, model)
        home = {"LLMRT_HOME": folder, "XDG_CACHE_HOME": folder}
        server = llmrt_server(str(model), *FLAGS, environment=home, largest_file_kb=_FULL_DISK_KB)
        with server:
            watch = Watch(server.port, Prompts(seed), 3)
            asyncio.run(watch.learn())
            watched = asyncio.run(watch.check())
            said = [line.replace(folder, "FOLDER") for line in server.last_lines().splitlines() if " kept " in line]
        left = [path for path in Path(folder).rglob("*") if path.is_file() and path != model]
    return {"watched": watched, "said": said, "files_left": [os.path.relpath(path, folder) for path in left]}


def main() -> None:
    """Measure, print, write."""
    parser = options_of(__doc__, "faults")
    parser.add_argument("--vanish", type=int, default=500)
    parser.add_argument("--fuzz", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report: dict[str, Any] = {
        **provenance(),
        "settings": {"model": MODEL, "flags": FLAGS, "seed": options.seed},
    }
    with llmrt_server(MODEL, *FLAGS) as server:
        report |= asyncio.run(run(server, options))
    report["full_disk"] = full_disk(options.seed)
    write(report, options.json)
    print(json.dumps({name: report[name] for name in list(report)[4:]}, indent=1))


if __name__ == "__main__":
    main()
