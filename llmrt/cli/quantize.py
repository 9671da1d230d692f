"""``llmrt quantize``: a model with packed weights, in a folder of its own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.filesize import decimal

from llmrt.cli.calibration import Calibrate, calibration_ids
from llmrt.cli.describe_packed import evaluation_facts
from llmrt.cli.evaluate import evaluated, save_evaluation
from llmrt.cli.options import Model, QuantName, Revision, Threads
from llmrt.cli.output_folder import check_output
from llmrt.cli.progress import progress_bar
from llmrt.cli.session import LocalModel, find_model
from llmrt.cli.tables import print_facts
from llmrt.cli.terminal import say
from llmrt.config import EngineConfig
from llmrt.engine.hardware.threads import importing_torch
from llmrt.errors import ConfigError
from llmrt.model.checkpoints.packed_header import PACKED_FILE, packed_file
from llmrt.model.checkpoints.tensor_slots import num_parameters


def quantize(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write; it must not exist.")],
    quant: Annotated[QuantName, typer.Option(help="Format of the weights.")] = QuantName.int4,
    calibrate: Calibrate = None,
    evaluate: Annotated[
        Path | None, typer.Option("--eval", help="Compare it with its source on this text, and keep the figures.")
    ] = None,
    threads: Threads = None,
    revision: Revision = None,
) -> None:
    """Write a model with packed weights and its tokenizer to a folder that every command takes as MODEL."""
    if quant in (QuantName.none, QuantName.stored):
        raise ConfigError(f"--quant {quant} leaves the model as it is; use int8, int4 or auto.")
    check_output(output)
    local = find_model(model, revision)
    if packed_file(local.path) is not None:
        raise ConfigError(f"{model} is packed already; quantize the model that it was made from.")
    calibration = calibration_ids(calibrate, quant, local.tokenizer)
    _write(local, output, EngineConfig(quant=quant, calibration=calibration, threads=threads))
    size = sum(path.stat().st_size for path in output.iterdir())
    say(f"{output} holds {local.name} ({decimal(size)}); use it as: llmrt chat {quote(str(output))}")
    if evaluate is not None:
        written = find_model(str(output))
        result = evaluated(written, local.path, EngineConfig(threads=threads), evaluate)
        save_evaluation(output / PACKED_FILE, result, evaluate)
        print_facts(evaluation_facts(asdict(result)))


def _write(model: LocalModel, output: Path, config: EngineConfig) -> None:
    with progress_bar("quantizing", "parameters") as bar:
        with importing_torch():
            from llmrt.engine.conversion.quantized_folder import write_quantized
            from llmrt.model.checkpoints.checkpoint import open_checkpoint
        checkpoint = open_checkpoint(model.path)
        bar.begin(num_parameters(checkpoint.config))
        notices = write_quantized(checkpoint, output, config, bar.advance, model.defaults)
    for notice in notices:
        say(f"note: {notice}")
