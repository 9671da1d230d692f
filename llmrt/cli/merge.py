"""``llmrt merge``: a model with a LoRA adapter in its weights, in a folder of its own."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from llmrt.cli.options import Model, Revision
from llmrt.cli.output_folder import check_output
from llmrt.cli.terminal import say
from llmrt.hub.sources import resolve


def merge(
    model: Model,
    lora: Annotated[Path, typer.Option("--lora", metavar="PATH", help="The adapter, a folder that peft saved.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write; it must not exist.")],
    revision: Revision = None,
) -> None:
    """Write a model that answers as MODEL does with an adapter, to a folder that every command takes as MODEL."""
    check_output(output)
    artifact = resolve(model, revision=revision, report=say)
    from llmrt.engine.conversion.merged_folder import write_merged  # torch, a second or two

    write_merged(artifact.path, lora, output, artifact.sampling)
    say(f"{output} holds {artifact.name} with {lora} in its weights; use it as: llmrt chat {quote(str(output))}")
