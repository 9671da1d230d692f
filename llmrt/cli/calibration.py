"""``--calibrate``: a text that quantized weights are rounded for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmrt.cli.options import QuantName
from llmrt.errors import ConfigError
from llmrt.text.model_files import read_text
from llmrt.text.tokenizer import Tokenizer

Calibrate = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="With --quant: round the weights for this text, else for random tokens."),
]


def calibration_ids(file: Path | None, quant: str, tokenizer: Tokenizer) -> tuple[int, ...] | None:
    """The text's tokens, None without a file. Raises ``LlmrtError`` for a file that cannot be used."""
    if file is None:
        return None
    if quant in (QuantName.none, QuantName.stored):
        raise ConfigError(f"--calibrate {file} goes with --quant int8 or int4; nothing is rounded without.")
    return tuple(tokenizer.encode(read_text(file), add_special_tokens=False))
