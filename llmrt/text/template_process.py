"""The process that chat templates are compiled and rendered in; ``template_worker.py`` says what for."""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from threading import Lock
from typing import Any

from llmrt.errors import LlmrtError, TemplateError

_SECONDS = 5.0  # the longest conversations need a hundredth of it


class TemplateProcess:
    """One process for all templates, started when it is first asked, and again when it has died.

    For each request it has so many ``seconds`` of the processor.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def variables(self, source: str) -> frozenset[str]:
        """The names that the template looks up. Raises ``TemplateError`` if it cannot be compiled."""
        return frozenset(self._ask({"ask": "variables", "source": source}))

    def render(self, source: str, variables: Mapping[str, object]) -> str:
        """The text of the template, for ``variables`` that JSON has. Raises ``TemplateError`` where it makes none."""
        return self._ask({"ask": "render", "source": source, "variables": variables})

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            with self._process as process:
                process.kill()
            self._process = None

    def _ask(self, request: Mapping[str, object]) -> Any:
        line = json.dumps(request).encode("ascii") + b"\n"
        with self._lock:
            answer = json.loads(self._exchange(line))
        if "reason" in answer:
            raise TemplateError(answer["reason"])
        return answer["result"]

    def _exchange(self, line: bytes) -> bytes:
        process = self._living_process()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            raise self._death(process)
        return answer

    def _living_process(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "llmrt.text.template_worker", str(self._seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl+C is not for it
            )
        return self._process

    def _death(self, process: subprocess.Popen[bytes]) -> LlmrtError:
        status = process.wait()
        if status == -signal.SIGPROF:
            return TemplateError(f"The chat template takes more than {self._seconds:g} seconds of the processor.")
        return LlmrtError(f"The process that renders chat templates ended with status {status}; the log may say why.")


TEMPLATES = TemplateProcess()
atexit.register(TEMPLATES.close)
