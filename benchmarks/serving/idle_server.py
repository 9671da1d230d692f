"""What ``llmrt serve MODEL`` runs by default, before an engine whose steps compute nothing and take ``STEP_MS``.

    python -m benchmarks.serving.idle_server MODEL PORT MAX_NUM_SEQS STEP_MS

Of the model only the tokenizer and the chat template are used.
"""

from __future__ import annotations

import asyncio
import sys

from benchmarks.serving.server import HOST, MODEL_ID
from llmrt.config import EngineConfig, ServerSettings
from llmrt.hub.sources import resolve
from llmrt.server import runner
from llmrt.server.logs import LogFormat, LogLevel, log_to_stderr
from llmrt.server.served_model import ModelSpec

WORKER = "benchmarks.serving.idle_worker"


def main(model: str, port: str, max_num_seqs: str, step_ms: str) -> None:
    """Serve until a signal comes."""
    log_to_stderr(LogFormat.text, LogLevel.info)
    spec = ModelSpec(resolve(model, report=print), EngineConfig(max_num_seqs=int(max_num_seqs)), MODEL_ID)
    command = [sys.executable, "-m", WORKER, step_ms]
    with runner.bind(HOST, int(port)) as sock, asyncio.Runner(loop_factory=runner.new_event_loop) as loop:
        loop.run(runner.serve([spec], sock, settings=ServerSettings(), report=print, command=command))


if __name__ == "__main__":
    main(*sys.argv[1:])
