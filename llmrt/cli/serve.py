"""``llmrt serve``: models behind an OpenAI-compatible HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from llmrt.cli import access
from llmrt.cli import serve_options as options
from llmrt.cli.serve_config import CONTEXT_SETTINGS, config_text, model_settings
from llmrt.cli.serve_options import ServerOptions
from llmrt.cli.served_options import ServedOptions, options_of_each
from llmrt.config import ServerSettings
from llmrt.errors import ConfigError
from llmrt.server.logs import LogFormat, LogLevel, log_to_stderr, logger

if TYPE_CHECKING:
    from llmrt.server.served_model import ModelSpec

__all__ = ["CONTEXT_SETTINGS", "serve"]


def serve(
    context: typer.Context,
    model: options.ServedModels = None,
    config: options.Config = None,
    print_config: options.PrintConfig = False,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    served_model_name: options.Names = None,
    api_key: options.ApiKey = None,
    api_key_file: options.ApiKeyFile = None,
    admin_key: options.AdminKey = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    cors_origin: options.CorsOrigin = None,
    trusted_proxy: options.TrustedProxy = None,
    shared: ServedOptions = ServedOptions(),
    log_format: options.LogFormatName = LogFormat.text,
    log_level: options.LogLevelName = LogLevel.info,
    server: ServerOptions = ServerOptions(),
) -> None:
    """Serve models over an OpenAI-compatible HTTP API."""
    if print_config:
        typer.echo(config_text(context), nl=False)
        return
    own = model_settings(context)
    models = model or list(own)
    if not models:
        raise ConfigError("serve needs a model: as its argument, in LLMRT_MODEL, or as model in the --config file.")
    names = _names(models, served_model_name)
    each = options_of_each(models, shared, own)

    from llmrt.server import runner
    from llmrt.server.cors import check_cors_origin
    from llmrt.server.tls import tls_context

    log_to_stderr(log_format, log_level)
    tell = Teller(log_format)
    settings = ServerSettings(
        **vars(server),
        api_keys=access.api_keys(context, api_key or [], api_key_file, tell.warn),
        api_key_file=api_key_file,
        admin_keys=access.admin_keys(admin_key or []),
        cors_origins=tuple(map(check_cors_origin, cors_origin or [])),
        trusted_proxies=tuple(map(access.check_proxy, trusted_proxy or [])),
    )
    tls = tls_context(tls_cert, tls_key)
    access.warn_of_others(host, asks_keys=settings.asks_keys, encrypted=tls is not None, warn=tell.warn)
    with runner.bind(host, port) as sock:
        specs = [_model_spec(*one, tell.note) for one in zip(models, names, each, strict=True)]
        with asyncio.Runner(loop_factory=runner.new_event_loop) as loop:
            loop.run(runner.serve(specs, sock, settings=settings, report=tell.report, tls=tls))


@dataclass(frozen=True)
class Teller:
    """Tells the person who starts the server of it: in lines of their terminal, or of a log in JSON."""

    form: LogFormat

    def report(self, line: str) -> None:
        """What the server does."""
        typer.echo(line) if self._in_terminal else logger.info(line)

    def note(self, line: str) -> None:
        """How the models are found: on stderr, or in the log."""
        typer.echo(line, err=True) if self._in_terminal else logger.info(line)

    def warn(self, line: str) -> None:
        """What others may do."""
        typer.echo(f"warning: {line}", err=True) if self._in_terminal else logger.warning(line)

    @property
    def _in_terminal(self) -> bool:
        return self.form == LogFormat.text


def _model_spec(model: str, name: str | None, options: ServedOptions, note: Callable[[str], None]) -> ModelSpec:
    from llmrt.hub.sources import resolve
    from llmrt.server.served_model import ModelSpec
    from llmrt.text.load_tokenizer import load_tokenizer

    artifact = resolve(model, revision=options.revision, report=note)
    return ModelSpec(artifact, options.served_config(lambda: load_tokenizer(artifact.path)), name)


def _names(models: list[str], given: list[str] | None) -> Sequence[str | None]:
    """A name for each model, None for its own. Raises ``ConfigError`` for another number of names."""
    if given and len(given) != len(models):
        raise ConfigError(f"--served-model-name gives {len(given)} of {len(models)} names; give one for each model.")
    return given or [None] * len(models)
