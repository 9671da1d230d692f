"""Run the HTTP server and its engine together, until a signal or the engine's failure to load ends them."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress

import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from llmrt.config import ServerSettings
from llmrt.errors import ConfigError, LlmrtError
from llmrt.server.app import create_app
from llmrt.server.http_protocol import HttpProtocol
from llmrt.server.models import Models
from llmrt.server.served_model import Offer

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_KEEP_ALIVE_SECONDS = 75  # longer than the clients' own limits, so that they never write to a closing socket


def new_event_loop() -> asyncio.AbstractEventLoop:
    """What to run ``serve`` on: uvloop where there is one, for it costs less for each token."""
    return auto_loop_factory()()


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


def _leave_who_does_not_read(sock: socket.socket, seconds: float) -> None:
    """Have the system close connections whose data is not taken for ``seconds``, where it can; 0 for never."""
    if seconds and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))


async def serve(
    offers: Sequence[Offer],
    sock: socket.socket,
    *,
    settings: ServerSettings,
    report: Callable[[str], None],
    tls: ssl.SSLContext | None = None,
    command: Sequence[str] | None = None,
) -> None:
    """Serve ``offers`` on ``sock``, the first at once: requests get status 503 until it is loaded.

    ``report`` gets its engine's notices and the URL when it is. ``command`` stands in for the engine worker.
    Raises ``LlmrtError`` when it cannot be loaded, or when the engine of an only model dies again and again.
    """
    models = await Models.start(offers, settings, command)
    announcing = asyncio.create_task(_announce(models, _url(sock, tls), report))
    failing = asyncio.create_task(models.failed())
    try:
        server = _Server(models, settings, tls)
        failing.add_done_callback(server.stop)
        _leave_who_does_not_read(sock, settings.stall_seconds)
        await server.serve(sockets=[sock])
        if failing.done():
            failing.result()
    finally:
        announcing.cancel()
        failing.cancel()
        await models.close()


class _Server(uvicorn.Server):
    """uvicorn, which finishes open answers on SIGINT and SIGTERM, and ends with an error those that take too long."""

    def __init__(self, models: Models, settings: ServerSettings, tls: ssl.SSLContext | None) -> None:
        drain = settings.drain_seconds
        super().__init__(
            uvicorn.Config(
                create_app(models, settings),
                http=HttpProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                ssl_context_factory=None if tls is None else _always(tls),
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=int(drain) + 3,  # for clients that do not read
            )
        )
        self._models = models
        self._drain_seconds = drain

    def stop(self, _: object) -> None:
        """Leave: there is no engine, nor will there be one."""
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take the signals, without raising them again at the end: being stopped is how a server ends well."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let open answers end, by themselves or else by the engine's end."""
        ending = asyncio.create_task(self._end_answers())
        await super().shutdown(sockets)
        ending.cancel()

    async def _end_answers(self) -> None:
        await asyncio.sleep(self._drain_seconds)
        await self._models.close()


def _always(tls: ssl.SSLContext) -> Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext]:
    def context(_config: uvicorn.Config, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        return tls

    return context


async def _announce(models: Models, url: str, report: Callable[[str], None]) -> None:
    first, *others = models.offers
    with suppress(LlmrtError):  # which ends the server
        ready = await models.first.engine.ready()
        for notice in ready.notices:
            report(notice)
        report(f"{first.id} is served at {url} (context: {ready.context_length} tokens)")
        if others:
            report(f"Loaded when a request names them: {', '.join(offer.id for offer in others)}")


def _url(sock: socket.socket, tls: ssl.SSLContext | None) -> str:
    host, port, *_ = sock.getsockname()
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    scheme = "http" if tls is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/v1"
