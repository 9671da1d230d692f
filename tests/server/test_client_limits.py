"""What a client can cost: large, endless and slow bodies, answers that take long, and streams that are not read."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from serving import PATIENCE, WORKER, Served, chat, content, error_of, eventually, serving
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from llmrt.config import EngineConfig, ServerSettings
from llmrt.engine.messages import Submit
from llmrt.engine.request import SamplingParams
from llmrt.errors import OverloadedError, SlowClientError
from llmrt.server import engine_process
from llmrt.server.client_limits import ClientLimits
from llmrt.server.engine_process import EngineProcess
from llmrt.server.metrics import Metrics

MAX_BODY = 3000
HEAD = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def strict(model_path: Path) -> Iterator[Served]:
    with serving(model_path, ServerSettings(max_body_mb=MAX_BODY / 1e6)) as served:
        yield served


@pytest.fixture
def to_strict(strict: Served) -> Iterator[httpx.Client]:
    with strict.http() as http:
        yield http


def connect(served: Served) -> socket.socket:
    host, _, port = served.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def read_response(sock: socket.socket) -> str:
    data = b""
    while b'"}}' not in data and b"null}}" not in data:
        more = sock.recv(1 << 16)
        if not more:
            break
        data += more
    return data.decode()


def test_a_body_up_to_the_limit_is_read_and_a_byte_more_is_not(to_strict: httpx.Client) -> None:
    def sized(num_bytes: int) -> bytes:
        body = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
        return body + b" " * (num_bytes - len(body))

    def sent(data: bytes | Iterator[bytes]) -> httpx.Response:
        return to_strict.post("/v1/chat/completions", content=data, headers={"content-type": "application/json"})

    for form in (bytes, lambda data: iter([data[:100], data[100:]])):  # with a length in front, and in chunks
        taken, refused = (sent(form(sized(num_bytes))) for num_bytes in (MAX_BODY, MAX_BODY + 1))
        assert taken.status_code == 200
        assert error_of(refused, 413)["code"] == "request_too_large"
        assert refused.headers["x-should-retry"] == "false"
    assert content(chat(to_strict, "hi")) == "hi"


def test_a_large_body_is_refused_before_it_is_sent(strict: Served) -> None:
    with connect(strict) as sock:
        sock.sendall(f"{HEAD}content-length: 999999999999\r\nexpect: 100-continue\r\n\r\n".encode())
        assert read_response(sock).startswith("HTTP/1.1 413")


def test_an_endless_body_is_refused_when_it_is_too_long(strict: Served) -> None:
    with connect(strict) as sock:
        sock.sendall(f"{HEAD}transfer-encoding: chunked\r\n\r\n".encode())
        for _ in range(MAX_BODY // 1000 + 1):
            sock.sendall(b"3e8\r\n" + b" " * 1000 + b"\r\n")
        assert read_response(sock).startswith("HTTP/1.1 413")


@pytest.mark.parametrize("endless", ["x-one: " + "a" * (1 << 20), "x-many: a\r\n" * (1 << 17)])
def test_an_endless_head_is_refused(strict: Served, to_strict: httpx.Client, endless: str) -> None:
    with connect(strict) as sock:
        sock.sendall(f"GET /health HTTP/1.1\r\n{endless}".encode()[: 1 << 18])
        assert b"400" in sock.recv(1 << 16).splitlines()[0]
    assert to_strict.get("/health", headers={"x-long": "a" * 60_000}).status_code == 200


def test_a_body_that_does_not_go_on_is_refused(model_path: Path) -> None:
    with serving(model_path, ServerSettings(stall_seconds=0.3)) as served, connect(served) as sock:
        sock.sendall(f"{HEAD}content-length: 100\r\n\r\n{{".encode())
        response = read_response(sock)
        assert response.startswith("HTTP/1.1 408") and "client_too_slow" in response


async def test_many_large_bodies_at_once_are_refused_until_there_is_room() -> None:
    answered = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await answered.wait()

    async def receive() -> Message:
        return {"type": "http.request", "body": b" " * MAX_BODY}

    limits = ClientLimits(application, ServerSettings(max_body_mb=MAX_BODY / 1e6))
    scope = {"type": "http", "headers": []}
    requests = [asyncio.create_task(limits(scope, receive, _nothing)) for _ in range(17)]
    refused, others = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
    assert [type(request.exception()) for request in refused] == [OverloadedError]
    answered.set()
    await asyncio.gather(*others)
    await limits(scope, receive, _nothing)


def test_c8_an_answer_that_takes_too_long_ends_with_an_error_and_frees_the_engine(model_path: Path) -> None:
    settings = ServerSettings(request_seconds=0.4, ping_seconds=0)
    with serving(model_path, settings) as served, served.http() as http:
        whole = chat(http, "@hang")
        assert error_of(whole, 504)["code"] == "request_timeout"
        assert whole.headers["x-should-retry"] == "false"
        stream = chat(http, "@hang", stream=True)
        assert stream.status_code == 200 and "request_timeout" in stream.text and "[DONE]" not in stream.text
        in_time = eventually(lambda: answer if (answer := chat(http, "@running")).status_code == 200 else None)
        assert content(in_time) == "[]"


async def test_a_client_that_does_not_read_is_left_as_if_it_were_gone() -> None:
    left: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            for part in range(100):
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                left.append(f"sent {part}")
        except ClientDisconnect:
            left.append("left")
            raise

    async def send(message: Message) -> None:
        if len(left) == 3:
            await asyncio.sleep(60)  # as a server does whose buffers are full

    limits = ClientLimits(application, ServerSettings(stall_seconds=0.05))
    with pytest.raises(ClientDisconnect):
        await limits({"type": "http", "headers": []}, _nothing, send)
    assert left == ["sent 0", "sent 1", "sent 2", "left"]


async def _nothing(message: Message | None = None) -> Message:
    raise AssertionError


async def test_outputs_that_are_left_behind_are_bounded(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_process, "_MAX_BACKLOG", 50)
    monkeypatch.setattr(engine_process, "_MOST_JOINED", 1)  # so that they can be counted
    engine = await EngineProcess.start(model_path, EngineConfig(), WORKER)
    await engine.ready()
    submit = Submit("slow", [*b"@fill"], SamplingParams())
    async with aclosing(engine.generate([submit], Metrics().of_model(""))) as outputs:
        await anext(outputs)
        num_read = 1
        while engine.num_open:
            await asyncio.sleep(0.01)
        with pytest.raises(SlowClientError):
            async for _ in outputs:
                num_read += 1
    assert 50 <= num_read <= 52
    await engine.close()


def test_a_head_that_does_not_come_is_not_waited_for(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(model_path, ServerSettings()) as served, served.http() as http, ExitStack() as open_sockets:
        again = HTTPConnection(served.url.removeprefix("http://"), timeout=PATIENCE)
        again.request("GET", "/health")
        assert again.getresponse().read()
        assert http.get("/health").status_code == 200  # this connection stays too
        monkeypatch.setattr("llmrt.server.http_protocol._HEAD_SECONDS", 0.2)
        silent = [again.sock, *(open_sockets.enter_context(connect(served)) for _ in range(2))]
        for sock, begun in zip(silent, (b"GET /he", b"", b"GET /health HT"), strict=True):
            sock.sendall(begun)
        late = http.post("/v1/completions", json={"prompt": "@pause 0.3 done"})
        assert late.json()["choices"][0]["text"] == "done"  # what takes long behind its head is waited for
        assert [b"".join(iter(partial(sock.recv, 4096), b"")) for sock in silent] == [b""] * 3


def test_idle_connections_beyond_the_systems_default_leave_room_for_others(model_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with serving(model_path, ServerSettings()) as served, ExitStack() as idle:
            for _ in range(200):  # each is two files of this process
                idle.enter_context(connect(served))
            with served.http() as http:
                assert http.get("/health").status_code == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
