"""``llmrt pull | list | show | rm``: the models on this disk and the ones with an alias."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from llmrt.cli import tables
from llmrt.cli.describe import describe
from llmrt.cli.options import Model, complete_model
from llmrt.hub import store
from llmrt.hub.packed import copies_bytes
from llmrt.hub.remove import pulled, remove, sharers
from llmrt.hub.sources import resolve
from llmrt.presets import load_presets


def complete_pulled(typed: str) -> list[str]:
    """The pulled models that a shell may offer."""
    return [manifest.name for manifest in store.load_all() if manifest.name.startswith(typed)]


PulledModel = Annotated[
    str, typer.Argument(help="A pulled model, as `llmrt list` names it.", autocompletion=complete_pulled)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def pull(
    model: Annotated[
        str,
        typer.Argument(
            help="An alias (see `llmrt list`), org/name or org/name:file.gguf.", autocompletion=complete_model
        ),
    ],
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit of the repository.")] = None,
) -> None:
    """Fetch a model, or say where it is when it was fetched before."""
    resolve(model, revision=revision, report=_report)


def _report(line: str) -> None:
    typer.echo(line, err=True)


def list_models(as_json: Json = False) -> None:
    """List the models pulled, and the aliases that can be pulled with their computed sizes."""
    manifests = store.load_all()
    names = {manifest.name for manifest in manifests}
    presets = [preset for preset in load_presets().values() if preset.alias not in names]
    if as_json:
        tables.print_json(tables.listing(manifests, presets))
    else:
        tables.print_pulled(manifests)
        tables.print_available(presets)


def show(model: Model, as_json: Json = False) -> None:
    """Show a model's licence, source, size, architecture and files; nothing is downloaded."""
    description = describe(model)
    if as_json:
        tables.print_json(description)
    else:
        tables.print_description(description)


def rm(
    model: PulledModel,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a pulled model's files."""
    manifest = pulled(model)
    others = sharers(manifest)
    freed = copies_bytes(Path(manifest.path)) + (0 if others else manifest.num_bytes)
    fate = f"{decimal(freed)} are freed" + (f"; its files stay for {', '.join(others)}" if others else "")
    if not yes:
        typer.confirm(f"Delete {model} from {manifest.folder}? ({fate})", abort=True, err=True)
    remove(manifest)
    typer.echo(f"deleted {model}: {fate}", err=True)
