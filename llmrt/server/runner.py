"""Run the HTTP server and its engine together, until a signal or the engine's failure to load ends them."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

from llmrt.config import ServerSettings
from llmrt.errors import ConfigError, LlmrtError
from llmrt.server import service_manager
from llmrt.server.models import Models
from llmrt.server.served_model import ModelSpec

_MAX_FILES = (65536, 10240)  # the second is what every macOS allows; it refuses more than it allows


def new_event_loop() -> asyncio.AbstractEventLoop:
    """What to run ``serve`` on: uvloop, which costs less for each token, where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def bind(host: str, port: int) -> socket.socket:
    """A socket at the address, not listening yet; ``ConfigError`` if it cannot be had. Port 0 is any free one."""
    try:
        return _bound_socket(host, port)
    except OSError as error:
        raise ConfigError(
            f"{host} port {port} cannot be used ({error.strerror}); choose another with --host and --port."
        ) from error


def _bound_socket(host: str, port: int) -> socket.socket:
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, proto, _, address = addresses[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _allow_connections() -> None:
    """Each connection is an open file, of which systems allow few by default, for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in _MAX_FILES:
        most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        if soft == resource.RLIM_INFINITY or soft >= most:
            return
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return


def _close_unread_connections(sock: socket.socket, seconds: float) -> None:
    """Have the system close connections whose data is not taken for ``seconds``, where it can; 0 for never."""
    if seconds and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))


async def serve(
    specs: Sequence[ModelSpec],
    sock: socket.socket,
    *,
    settings: ServerSettings,
    report: Callable[[str], None],
    tls: ssl.SSLContext | None = None,
    command: Sequence[str] | None = None,
) -> None:
    """Serve ``specs`` on ``sock``, the first at once: requests get status 503 until it is loaded.

    ``report`` gets its engine's notices and the URL when it is. ``command`` stands in for the engine worker.
    Raises ``LlmrtError`` when it cannot be loaded, or when the engine of an only model dies again and again.
    """
    _allow_connections()
    models = await Models.start(specs, settings, command)
    announcing = asyncio.create_task(_announce(models, _url(sock, tls), report))
    failing = asyncio.create_task(models.failed())
    try:
        from llmrt.server.http_server import HttpServer  # takes long; the engine imports what it needs meanwhile

        server = HttpServer(models, settings, tls)
        failing.add_done_callback(server.stop)
        _close_unread_connections(sock, settings.stall_seconds)
        await server.serve(sockets=[sock])
        if failing.done():
            failing.result()
    finally:
        announcing.cancel()
        failing.cancel()
        await models.close()


async def _announce(models: Models, url: str, report: Callable[[str], None]) -> None:
    first, *others = models.specs
    with suppress(LlmrtError):  # which ends the server
        ready = await models.first.engine.ready()
        for notice in ready.notices:
            report(notice)
        report(
            f"{first.id} is served at {url}/v1 (context: {ready.context_length} tokens); a chat for browsers at {url}/"
        )
        service_manager.tell("READY=1")
        if others:
            report(f"Loaded when a request names them: {', '.join(spec.id for spec in others)}")


def _url(sock: socket.socket, tls: ssl.SSLContext | None) -> str:
    host, port, *_ = sock.getsockname()
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    scheme = "http" if tls is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
