"""Who may use the server that ``serve`` starts: its settings read and checked before a model is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from pathlib import Path

import typer

from llmrt.cli.options import is_on_command_line
from llmrt.errors import ConfigError
from llmrt.server.api_keys import check_key, read_key_file
from llmrt.server.foreign_pages import is_loopback

_VARIABLE = "LLMRT_API_KEY"


def api_keys(
    ctx: typer.Context, keys: Sequence[str], file: Path | None, warn: Callable[[str], None]
) -> tuple[str, ...]:
    """The keys of ``--api-key``. Raises ``ConfigError`` where keys, also of ``file``, are meant but cannot be.

    Warns of keys that others can read.
    """
    if is_on_command_line(ctx, "api_key"):
        warn(f"all users of this machine can read --api-key KEY; {_VARIABLE} and --api-key-file hide it.")
    if not keys and _VARIABLE in os.environ:
        raise ConfigError(f"{_VARIABLE} is empty: give it a key, or unset it for a server that asks for none.")
    if file is not None:
        read_key_file(file)
    return tuple(check_key(key, "--api-key") for key in keys)


def admin_keys(keys: Sequence[str]) -> tuple[str, ...]:
    """The keys of ``--admin-key``. Raises ``ConfigError`` for one that no header can carry."""
    return tuple(check_key(key, "--admin-key") for key in keys)


def check_proxy(address: str) -> str:
    """An address or network of ``--trusted-proxy``. Raises ``ConfigError`` for what is neither."""
    try:
        ip_network(address)
    except ValueError as error:
        raise ConfigError(f"--trusted-proxy {address} is no address, nor a network such as 10.0.0.0/8.") from error
    return address


def warn_of_others(host: str, *, asks_keys: bool, encrypted: bool, warn: Callable[[str], None]) -> None:
    """Say what a server that others can reach lets them do."""
    if is_loopback(host):
        return
    if not asks_keys:
        warn(f"whoever can reach {host} can use this server; {_VARIABLE} or --api-key-file sets keys.")
    elif not encrypted:
        warn("keys and prompts travel unencrypted; --tls-cert and --tls-key encrypt them.")
