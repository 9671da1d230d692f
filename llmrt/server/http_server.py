"""uvicorn around the application, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import uvicorn

from llmrt.config import ServerSettings
from llmrt.server import service_manager
from llmrt.server.app import create_app
from llmrt.server.http_protocol import HttpProtocol
from llmrt.server.models import Models

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last when its terminal is closed
_KEEP_ALIVE_SECONDS = 75  # longer than the clients' own limits, so that they never write to a closing socket


class HttpServer(uvicorn.Server):
    """uvicorn, which finishes open answers when a signal stops it, and ends with an error those that take too long."""

    def __init__(self, models: Models, settings: ServerSettings, tls: ssl.SSLContext | None) -> None:
        drain = settings.drain_seconds
        super().__init__(
            uvicorn.Config(
                create_app(models, settings),
                http=HttpProtocol,
                ws="none",
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(_as_seen(settings.trusted_proxies)),
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
        taken = [number for number in _SIGNALS if not _is_ignored(number)]
        for number in taken:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in taken:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let open answers end, by themselves or else by the engine's end."""
        service_manager.tell("STOPPING=1")
        ending = asyncio.create_task(self._end_answers())
        await super().shutdown(sockets)
        ending.cancel()

    async def _end_answers(self) -> None:
        await asyncio.sleep(self._drain_seconds)
        await self._models.close()


def _is_ignored(number: signal.Signals) -> bool:
    """Whether who started it wants it to live on: nohup does so with SIGHUP."""
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN


def _as_seen(addresses: Iterable[str]) -> Iterator[str]:
    """A socket of both families, that of `--host ::`, shows IPv4 addresses as IPv6 ones."""
    for address in addresses:
        yield address
        network = ip_network(address)
        if network.version == 4:
            yield f"::ffff:{network.network_address}/{96 + network.prefixlen}"


def _always(tls: ssl.SSLContext) -> Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext]:
    def context(_config: uvicorn.Config, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        return tls

    return context
