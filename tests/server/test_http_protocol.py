"""What a connection costs the event loop, without one."""

from __future__ import annotations

import asyncio
from unittest.mock import MagicMock

import pytest
from uvicorn import Config
from uvicorn.protocols.http import httptools_impl
from uvicorn.server import ServerState

from llmrt.server.http_protocol import HttpProtocol


def test_many_requests_in_one_read_are_looked_at_a_few_times_each(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []

    class Cycle(httptools_impl.RequestResponseCycle):
        @property  # of what is an attribute, so that looks at it are counted
        def response_complete(self) -> bool:  # type: ignore[override]
            looks.append(None)
            return False

        @response_complete.setter
        def response_complete(self, _: bool) -> None: ...

    monkeypatch.setattr(httptools_impl, "RequestResponseCycle", Cycle)
    loop, number = MagicMock(spec=asyncio.AbstractEventLoop), 200
    protocol = HttpProtocol(Config(MagicMock(), ws="none"), ServerState(), {}, loop)
    protocol.connection_made(MagicMock(spec=asyncio.Transport))
    protocol.data_received(b"GET / HTTP/1.1\r\n\r\n" * number)
    assert number <= len(looks) <= 10 * number
    assert [call.args[0].close() for call in loop.create_task.call_args_list] == [None]  # the first is answered
    protocol.connection_lost(None)
    waiting = [cycle for cycle, _ in protocol.pipeline]
    assert len(waiting) == number - 1 and all(cycle.disconnected for cycle in waiting)
