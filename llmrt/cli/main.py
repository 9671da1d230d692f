"""The commands of ``llmrt``: their table, and the one place where an error becomes an exit status.

A command's module is imported when the command runs, so that ``llmrt --help`` stays instant.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from llmrt import __version__
from llmrt.cli.bad_values import Command
from llmrt.cli.spellings import COMMANDS_INSTEAD, OTHER_NAMES
from llmrt.cli.spread import spread_options
from llmrt.config import choice_here
from llmrt.errors import LlmrtError

# What a full or failing disk behind stdout says; typer itself ends quietly when nobody reads on.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

# Of a path, whichever command came to it: in a folder that may not be entered, or longer than a file system's names.
_UNUSABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)

# name -> (module:function, the line that `llmrt --help` shows)
COMMANDS = {
    "serve": ("llmrt.cli.serve:serve", "Serve a model over an OpenAI-compatible HTTP API."),
    "chat": ("llmrt.cli.chat:chat", "Talk to a model in the terminal."),
    "generate": ("llmrt.cli.generate:generate", "Complete one prompt and print the text."),
    "bench": ("llmrt.cli.bench:bench", "Measure a model's speed on this machine."),
    "quantize": ("llmrt.cli.quantize:quantize", "Write a model with packed, quantized weights to a folder."),
    "merge": ("llmrt.cli.merge:merge", "Write a model with a LoRA adapter in its weights to a folder."),
    "eval": ("llmrt.cli.evaluate:eval_model", "Compare a quantized model with its source on a text."),
    "fit": ("llmrt.cli.fit:fit_model", "Say whether a model fits this machine, and how fast it can be."),
    "tune": ("llmrt.cli.tune:tune", "Measure which forms of the GPU's kernels are the fastest here, and keep them."),
    "doctor": ("llmrt.cli.doctor:doctor", "Say what this machine has, and what keeps models from running fast."),
    "selftest": ("llmrt.cli.selftest:selftest", "Check on any server what clients depend on."),
    "pull": ("llmrt.cli.models:pull", "Fetch a model: an alias or a Hugging Face repository."),
    "list": ("llmrt.cli.models:list_models", "List the models pulled and the aliases that can be."),
    "show": ("llmrt.cli.models:show", "Show a model's licence, size and architecture."),
    "rm": ("llmrt.cli.models:rm", "Delete a pulled model."),
}


class LazyGroup(TyperGroup):
    """Lists commands from the table and loads the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Put the real command in the place of its line in the table, or of another program's name for it."""
        if not ctx.resilient_parsing:  # a shell that completes the line wants no error in it
            _check_command(ctx, args[0])
        name, command, rest = super().resolve_command(ctx, [OTHER_NAMES.get(args[0], args[0]), *args[1:]])
        return name, load_command(name) if name in COMMANDS else command, rest


def load_command(name: str) -> Any:
    """Import a command of the table."""
    path, function = COMMANDS[name][0].split(":")
    module = importlib.import_module(path)
    single = typer.Typer(add_completion=False)
    command = spread_options(getattr(module, function))
    single.command(name, cls=Command, context_settings=getattr(module, "CONTEXT_SETTINGS", None))(command)
    return typer.main.get_command(single)


def _check_command(ctx: Any, word: str) -> None:
    """Fail with what to type instead of a command of another program, or before a model."""
    if word in COMMANDS_INSTEAD:
        ctx.fail(f"{word} is no command here. {COMMANDS_INSTEAD[word]}")
    if _is_model(word):
        ctx.fail(f"{word} is a model, and a command goes before it, such as: llmrt chat {word}")


def _is_model(word: str) -> bool:
    """Whether a word in a command's place is an alias, a repository or a path."""
    from llmrt.presets import find_preset

    return word not in COMMANDS and ("/" in word or word.endswith(".gguf") or find_preset(word) is not None)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "token_normalize_func": choice_here},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llmrt {__version__}")
        raise typer.Exit


@app.callback()
def _root(  # pyright: ignore[reportUnusedFunction] - typer keeps it
    version: Annotated[
        bool, typer.Option("--version", "-v", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Run large language models on the GPU or CPU you own."""


def main() -> None:
    """Run the command line: exit 0 on success, 1 on an error of one line, 2 on bad usage, 130 on Ctrl-C."""
    _open_closed_streams()
    try:
        app()
    except LlmrtError as error:
        _leave(str(error))
    except OSError as error:
        if error.errno in _UNUSABLE and error.filename is not None:
            _leave(f"{error.filename} cannot be used: {error.strerror}")
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes what is left at its exit
        _leave(f"the output cannot be written: {error.strerror}")


def _open_closed_streams() -> None:
    """Whoever starts us may have closed stdin, stdout or stderr: then there is nothing to read, and nobody to tell."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - open as long as the process


def _leave(message: str) -> None:
    typer.echo(f"error: {message}", err=True)
    sys.exit(1)
