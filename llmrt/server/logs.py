"""The server's log: lines of text, or of JSON with the same in fields.

What a client sends is in a line only after it was checked or escaped, so that nobody writes lines of their own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

logger = logging.getLogger("llmrt.server")


class LogFormat(StrEnum):
    """How lines are written."""

    text = "text"
    json = "json"


class LogLevel(StrEnum):
    """What a line must be at least to be written."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def log_to_stderr(form: LogFormat, level: LogLevel = LogLevel.info) -> None:
    """Write the lines of this package from ``level`` on, and the warnings of others."""
    text = logging.Formatter("%(asctime)s %(message)s")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == LogFormat.json else text)
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("llmrt").setLevel(level.upper())


def log(event: str, text: str, fields: Mapping[str, object], level: int = logging.INFO) -> None:
    """Tell of ``event``, which ``text`` says in words and ``fields`` in JSON."""
    logger.log(level, "%s", text, extra={"event": event, "fields": fields})


class JsonLines(logging.Formatter):
    """One object a line, with ``time``, ``level`` and ``message`` first."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": getattr(record, "event", None) or record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
