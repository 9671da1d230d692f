"""A server in a process of its own, llmrt's or llama.cpp's, for a ``with`` block."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.peers.client import ROOT, WorkerError

HOST = "127.0.0.1"
MODEL_ID = "model"
READY_SECONDS = 120.0
_EXIT_SECONDS = 20.0


class Server:
    """What ``command`` serves on ``port``. Entering waits until ``ready_path`` answers with 200."""

    def __init__(
        self, command: Sequence[str], port: int, ready_path: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.port = port
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._ready_path = ready_path
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=subprocess.STDOUT, cwd=ROOT, env={**os.environ, **(environment or {})}
        )

    def __enter__(self) -> Self:
        try:
            self.wait_until_ready()
        except WorkerError:
            self.close()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Raises ``WorkerError`` with the server's last lines if it ends before, or takes longer."""
        end = time.monotonic() + seconds
        while status_of(self.port, self._ready_path) != 200:
            if not self.is_alive or time.monotonic() > end:
                raise WorkerError(f"the server is not ready: {self.last_lines()}")
            time.sleep(0.005)

    def last_lines(self) -> str:
        """The end of what the server printed."""
        size = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, size - 2000))
        return self.log.read().decode(errors="replace")

    def stop(self) -> float:
        """Ask it to end; the seconds that it took. Raises ``WorkerError`` if it does not."""
        start = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise WorkerError(f"the server did not end within {_EXIT_SECONDS:g} s of SIGTERM") from None
        return time.perf_counter() - start

    def close(self) -> None:
        """End it, by force if need be."""
        try:
            if self.is_alive:
                self.stop()
        finally:
            self.process.kill()
            self.process.wait()
            self.log.close()


# Of ``llmrt serve``: no token is guessed and no prompt found again, so every token is computed, as by the peer.
PLAIN = ("--speculate", "off", "--disk-cache", "0")


def llmrt_server(
    model: str, *flags: str, environment: Mapping[str, str] | None = None, largest_file_kb: int | None = None
) -> Server:
    """This checkout's ``llmrt serve``, which can write no file larger than ``largest_file_kb``."""
    port = free_port()
    llmrt = str(Path(sys.executable).with_name("llmrt"))
    command = [llmrt, "serve", model, "--port", str(port), "--served-model-name", MODEL_ID, *flags]
    if largest_file_kb is not None:
        command = ["bash", "-c", f'ulimit -f {largest_file_kb}; exec "$@"', "bash", *command]
    return Server(command, port, "/ready", environment)


def llama_server(binary: Path, model: Path, *flags: str) -> Server:
    """llama.cpp's own server."""
    if not binary.exists():
        raise WorkerError(f"{binary} is missing; make it with `make peers`, or name another with --llama-server.")
    port = free_port()
    return Server([str(binary), "-m", str(model), "--host", HOST, "--port", str(port), *flags], port, "/health")


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return sock.getsockname()[1]


def status_of(port: int, path: str) -> int | None:
    """The status that ``path`` answers with; None if nobody listens."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()
