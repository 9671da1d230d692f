"""The options of ``serve`` that no other command has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from llmrt.cli.options import complete_model
from llmrt.cli.serve_config import load_config
from llmrt.config import ServerSettings
from llmrt.server.logs import LogFormat, LogLevel

_DEFAULTS = ServerSettings()
_LIMITS = "Limits"
_ACCESS = "Access"
_LOG = "Log"

ServedModels = Annotated[
    list[str] | None,
    typer.Argument(
        autocompletion=complete_model,
        envvar="LLMRT_MODEL",
        show_envvar=False,
        metavar="MODEL",
        help="Aliases, org/name, org/name:file.gguf, folders or GGUF files; after the first, loaded when asked for.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        is_eager=True,
        callback=load_config,
        metavar="FILE",
        help="A TOML file of these settings, such as configs/serve.example.toml; LLMRT_PORT and so on are them too.",
    ),
]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print every setting as TOML and leave.")]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")]
Names = Annotated[
    list[str] | None, typer.Option(help="The model's id in the API, else its name; with several models once for each.")
]
ApiKey = Annotated[
    list[str] | None,
    typer.Option(
        hide_input=True,
        metavar="KEY",
        rich_help_panel=_ACCESS,
        help="A key that clients must send, or several; better in LLMRT_API_KEY or a file, where nobody else reads it.",
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", rich_help_panel=_ACCESS, help="A file of such keys, one a line; # begins a line of comment."
    ),
]
AdminKey = Annotated[
    list[str] | None,
    typer.Option(
        hide_input=True,
        metavar="KEY",
        rich_help_panel=_ACCESS,
        help="A key for loading and unloading adapters, which nobody may without; better in LLMRT_ADMIN_KEY.",
    ),
]
TlsCert = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=_ACCESS, help="A certificate chain in PEM form: serves HTTPS."),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=_ACCESS, help="Its private key; else in the same file."),
]
CorsOrigin = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN",
        rich_help_panel=_ACCESS,
        help="A site whose web pages may use this server, such as https://chat.example.org, or several; * for all.",
    ),
]
TrustedProxy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS",
        rich_help_panel=_ACCESS,
        help="A proxy, or a network such as 10.0.0.0/8, whose X-Forwarded-For is believed, or several.",
    ),
]
LogFormatName = Annotated[
    LogFormat, typer.Option(rich_help_panel=_LOG, help="Lines of the log on stderr: text, or JSON for programs.")
]
LogLevelName = Annotated[
    LogLevel,
    typer.Option(rich_help_panel=_LOG, help="The least that is written; debug has the answers to health checks too."),
]


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The fields of ``ServerSettings`` that have nothing to do with who may use the server."""

    keep_alive_seconds: Annotated[
        float,
        typer.Option(min=0, help="Seconds that an idle model stays loaded; 0 keeps it until another needs its memory."),
    ] = _DEFAULTS.keep_alive_seconds
    log_prompts: Annotated[
        bool, typer.Option("--log-prompts", rich_help_panel=_LOG, help="Write prompts to the log.")
    ] = _DEFAULTS.log_prompts
    ping_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds between comment lines in a silent stream; 0 sends none.")
    ] = _DEFAULTS.ping_seconds
    max_open_requests: Annotated[
        int,
        typer.Option(
            min=1, rich_help_panel=_LIMITS, help="Requests that may wait or be computed; more get status 429."
        ),
    ] = _DEFAULTS.max_open_requests
    max_body_mb: Annotated[
        float,
        typer.Option(min=0.001, rich_help_panel=_LIMITS, help="Megabytes of a request's body; more get status 413."),
    ] = _DEFAULTS.max_body_mb
    request_seconds: Annotated[
        float, typer.Option(min=0, rich_help_panel=_LIMITS, help="Seconds that an answer may take; 0 is no limit.")
    ] = _DEFAULTS.request_seconds
    stall_seconds: Annotated[
        float,
        typer.Option(
            min=0, rich_help_panel=_LIMITS, help="Seconds that a client may leave a stream unread; 0 is no limit."
        ),
    ] = _DEFAULTS.stall_seconds
    drain_seconds: Annotated[
        float,
        typer.Option(min=0, rich_help_panel=_LIMITS, help="Seconds that open answers get when the server is stopped."),
    ] = _DEFAULTS.drain_seconds
