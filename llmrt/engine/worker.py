"""The engine as a process of its own: ``python -m llmrt.engine.worker --fd N``, N being a connected socket.

torch is imported through ``build_engine`` alone, after the start record is there, so that everything that can
be refused is refused at once. The process ends when the other side of the socket does, whatever it is doing.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmrt.config import EngineConfig
from llmrt.engine.channel import Channel
from llmrt.engine.hardware.system_memory import allocation, give_back_freed_memory
from llmrt.engine.hardware.threads import importing_torch
from llmrt.engine.loading.read_ahead import read_ahead
from llmrt.engine.messages import (
    Abort,
    AdaptersChanged,
    Compiling,
    Failed,
    LoadAdapter,
    Outputs,
    Ready,
    Start,
    Submit,
    ToEngine,
    UnloadAdapter,
)
from llmrt.engine.request import RequestOutput, failed
from llmrt.errors import LlmrtError, MemoryFitError, RequestError

if TYPE_CHECKING:
    from llmrt.engine.llm_engine import LLMEngine
    from llmrt.engine.runners.device import TellCompiling


_STATE_SECONDS = 0.1  # after which the state is told although no request came: also a sign of life

BuildEngine = Callable[[Path, EngineConfig, "TellCompiling"], "LLMEngine"]


def main(build: BuildEngine | None = None) -> int:
    """Serve the socket named on the command line until it closes; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m llmrt.engine.worker")
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of a connected socket")
    sock = socket.socket(fileno=parser.parse_args().fd)
    sock.set_inheritable(False)  # a compiler that is started here must not keep the channel open
    # What a terminal and a service manager send reaches the whole group; the parent decides when streams are done.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, args=(sock.fileno(),), daemon=True).start()
    try:
        return serve(Channel(sock), build or _build_engine)
    except (EOFError, ConnectionError):
        return 0  # nobody listens any more
    except LlmrtError as error:
        print(f"llmrt: the engine stopped: {error}", file=sys.stderr)
        return 1


def serve(channel: Channel, build: BuildEngine) -> int:
    """Build the engine that the first record asks for, say how that went, and run it."""
    start, *rest = channel.receive(block=True)
    assert isinstance(start, Start) and not rest
    try:
        engine = build(Path(start.model_path), start.config, lambda count: channel.send(Compiling(count)))
    except LlmrtError as error:
        channel.send(Failed(str(error), isinstance(error, MemoryFitError)))
        return 1
    channel.send(Ready(engine.context_length, engine.vocab_size, engine.embedding_size, [*engine.notices]))
    run(engine, channel)
    return 0


def run(engine: LLMEngine, channel: Channel) -> None:
    """Take records in, step, send outputs; sleeps only when there is nothing to compute. Ends by ``EOFError``."""
    num_noticed, told_at = len(engine.notices), 0.0
    while True:
        outputs: list[RequestOutput] = []
        records = channel.receive(block=not engine.has_work)
        for record in records:
            if isinstance(record, LoadAdapter | UnloadAdapter):
                channel.send(_change_adapters(engine, record))
            else:
                outputs += _apply(engine, record)
        if engine.has_work:
            outputs += engine.step()
        now = time.monotonic()
        if records or not engine.has_work or now > told_at + _STATE_SECONDS:
            notices = [*engine.notices[num_noticed:]]
            channel.send(Outputs(outputs, engine.stats, notices))
            num_noticed, told_at = num_noticed + len(notices), now
        elif outputs:
            channel.send(Outputs(outputs))


def _change_adapters(engine: LLMEngine, record: LoadAdapter | UnloadAdapter) -> AdaptersChanged:
    try:
        if isinstance(record, LoadAdapter):
            engine.load_adapter(record.name, Path(record.path))
        else:
            engine.unload_adapter(record.name)
    except LlmrtError as error:
        return AdaptersChanged(str(error))
    return AdaptersChanged()


def _apply(engine: LLMEngine, record: ToEngine) -> list[RequestOutput]:
    if isinstance(record, Abort):
        engine.abort(record.request_id)
        return []
    assert isinstance(record, Submit)
    try:
        if record.pooling is None:
            engine.add(record.request_id, record.token_ids, record.params, record.adapter)
        else:
            engine.embed(record.request_id, record.token_ids, record.pooling, record.adapter)
    except RequestError as error:
        return [failed(record.request_id, error)]
    return []


def _build_engine(path: Path, config: EngineConfig, compiling: TellCompiling) -> LLMEngine:
    read_ahead(path, config)
    with allocation(), importing_torch():
        from llmrt.engine.loading.build import build_engine
    engine = build_engine(path, config, compiling)
    engine.warm_up()
    give_back_freed_memory()  # what loading took beside the weights
    return engine


def _exit_with_parent(fd: int) -> None:
    """End the process once the socket hangs up: loading and long steps do not look at the channel."""
    if sys.platform == "darwin":  # where a hang-up is not reported to who asks for nothing else
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(_STATE_SECONDS)
    else:
        poller = select.poll()
        poller.register(fd, 0)  # hang-up is reported without being asked for
        poller.poll()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
