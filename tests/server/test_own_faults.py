"""What a client and the log learn of an error in our own code."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import msgspec
import pytest
from starlette.types import Receive, Scope, Send

from llmrt.server.errors import ErrorBody
from llmrt.server.framing import ServerSentEvents
from llmrt.server.metrics import Metrics
from llmrt.server.middleware import RequestLog
from llmrt.server.stream import frames

SECRET = "a secret of the code"


async def _broken_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError(SECRET)


async def test_a_bug_is_one_json_error_and_a_traceback_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    transport = httpx.ASGITransport(RequestLog(_broken_app, Metrics()))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        response = await http.get("/", headers={"x-request-id": "mine"})
    assert response.status_code == 500 and response.headers["x-request-id"] == "mine"
    assert response.headers["x-should-retry"] == "false"
    assert response.json()["error"]["type"] == "server_error" and SECRET not in response.text
    assert "mine 127.0.0.1 GET /" in caplog.text and SECRET in caplog.text


async def _broken_stream() -> AsyncGenerator[msgspec.Struct, None]:
    yield ErrorBody("fine", "x", None, None)
    raise ValueError(SECRET)


async def test_c11_a_bug_in_a_stream_is_an_error_event(caplog: pytest.LogCaptureFixture) -> None:
    first, last = [event async for event in frames(_broken_stream(), ServerSentEvents())]
    assert b"fine" in first
    error: dict[str, Any] = msgspec.json.decode(last.removeprefix(b"data: "))["error"]
    assert error["type"] == "server_error" and SECRET not in error["message"]
    assert SECRET in caplog.text
