"""``llmrt pull | list | show | rm``: the models on this disk and the ones with an alias."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from llmrt.cli import model_tables
from llmrt.cli.describe import describe
from llmrt.cli.options import Model, complete_model
from llmrt.cli.tables import print_json
from llmrt.errors import ConfigError
from llmrt.hub import store
from llmrt.hub.disk import disk_errors
from llmrt.hub.packed import copies_bytes
from llmrt.hub.prompts import prompts_bytes, prompts_folder, remove_prompts
from llmrt.hub.remove import pulled, remove, sharers
from llmrt.hub.sources import resolve
from llmrt.presets import load_presets


def complete_pulled(typed: str) -> list[str]:
    """The pulled models that a shell may offer."""
    return [manifest.name for manifest in store.load_all() if manifest.name.startswith(typed)]


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def pull(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An alias (see `llmrt list`), org/name or org/name:file.gguf.",
            autocompletion=complete_model,
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
        print_json(model_tables.listing(manifests, presets))
    else:
        model_tables.print_pulled(manifests)
        model_tables.print_available(presets)


def show(model: Model, as_json: Json = False) -> None:
    """Show a model's licence, source, size, architecture and files; nothing is downloaded."""
    description = describe(model)
    if as_json:
        print_json(description)
    else:
        model_tables.print_description(description)


def rm(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="A pulled model, as `llmrt list` names it.", autocompletion=complete_pulled
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Only what is kept of prompts: of MODEL, or of all models without one.")
    ] = False,
) -> None:
    """Delete a pulled model's files, or what is kept of prompts."""
    if prompts:
        _remove_prompts(None if model is None else _local_path(model), yes=yes)
        return
    if model is None:
        raise ConfigError("rm needs a MODEL, or --prompts.")
    manifest = pulled(model)
    others = sharers(manifest)
    own = copies_bytes(Path(manifest.path)) + prompts_bytes(Path(manifest.path))
    freed = own + (0 if others else manifest.num_bytes)
    fate = f"{decimal(freed)} are freed" + (f"; its files stay for {', '.join(others)}" if others else "")
    if not yes:
        typer.confirm(f"Delete {model} from {manifest.folder}? ({fate})", abort=True, err=True)
    remove(manifest)
    typer.echo(f"deleted {model}: {fate}", err=True)


def _local_path(model: str) -> Path:
    return Path(model) if Path(model).exists() else Path(pulled(model).path)


def _remove_prompts(model: Path | None, *, yes: bool) -> None:
    fate = f"{decimal(prompts_bytes(model))} are freed"
    if not yes:
        typer.confirm(f"Delete what is kept of prompts in {prompts_folder()}? ({fate})", abort=True, err=True)
    with disk_errors(prompts_folder(), hint="check its permissions"):
        remove_prompts(model)
    typer.echo(f"deleted what was kept of prompts: {fate}", err=True)
