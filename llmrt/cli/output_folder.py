"""The folder that a command writes a model to."""

from __future__ import annotations

from pathlib import Path

from llmrt.errors import ConfigError
from llmrt.hub.paths import check_name, is_there


def check_output(output: Path) -> None:
    """Raise ``LlmrtError``, before the work begins, unless ``output`` can become the folder of a model."""
    if is_there(output):
        raise ConfigError(f"--output {output} exists already; name a folder that does not.")
    check_name(output.absolute())
