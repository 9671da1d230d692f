"""Commands that say of a value they cannot take where it is from: a flag, a variable or a line of a file.

Requests have some of the same values as fields, whose names are spelt otherwise; so do other programs as options.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from llmrt.cli.spellings import advice, other_spellings
from llmrt.errors import RequestError


class Command(TyperCommand):
    """Reads its values as typer does, and names the source of one that is wrong."""

    def make_parser(self, ctx: Any) -> Any:
        """One that knows the other spellings too."""
        parser = super().make_parser(ctx)
        params: list[Any] = self.params
        for option in params:
            if spellings := other_spellings(option):
                action = "append" if option.multiple else "store"
                parser.add_option(option, spellings, option.name, action, option.nargs)
        return parser

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raises ``TyperException`` for an option that is not known, ``typer.BadParameter`` for a wrong value."""
        typed = [*args]
        try:
            return super().parse_args(ctx, args)
        except TyperException as error:
            if instead := advice(typed, self.params):
                ctx.fail(instead)
            if isinstance(error, typer.BadParameter):
                _explain(ctx, error)
            raise

    def invoke(self, ctx: Any) -> Any:
        """Raises ``RequestError`` that calls a field of requests by the name that it has here."""
        try:
            return super().invoke(ctx)
        except RequestError as error:
            raise RequestError(_as_typed(ctx, self, error)) from error


def _as_typed(ctx: typer.Context, command: Any, error: RequestError) -> str:
    """The message, which may begin with the field."""
    message = str(error)
    for param in command.params:
        if error.param == param.name and message.startswith(f"{param.name} "):
            return f"{_source(ctx, param) or param.opts[0]}{message.removeprefix(param.name)}"
    return message


def _explain(ctx: typer.Context, error: typer.BadParameter) -> None:
    """Say where the value is from, and leave out what pydantic puts before the reason."""
    error.message = reason(error)
    if error.param is not None and error.param_hint is None:
        error.param_hint = _source(ctx, error.param)


def reason(error: typer.BadParameter) -> str:
    """What a parser says of a value, without what pydantic puts before it."""
    return error.message.removeprefix("Value error, ")


def _source(ctx: typer.Context, param: Any) -> str | None:
    """What to change; None for the flag or argument, which typer names itself."""
    source = ctx.get_parameter_source(param.name)
    name = None if source is None else source.name
    if name == "ENVIRONMENT":
        return param.envvar or f"{ctx.auto_envvar_prefix}_{param.name.upper()}"
    if name == "DEFAULT_MAP":
        return f"{param.name} of --config {ctx.params['config']}"
    return None
