"""Pings while nothing comes, and an engine that is freed when nobody waits."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator

import httpx
import msgspec
import openai
import pytest
from serving import Served, aborted, chat, content, error_of, eventually, running, streamed_after
from starlette.types import Message

from llmrt.server.framing import DONE, PING, ServerSentEvents
from llmrt.server.stream import RecordStream


def body(text: str, **fields: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def test_c34_closing_a_stream_frees_the_engine(client: openai.OpenAI, http: httpx.Client) -> None:
    stream = client.chat.completions.create(
        model="tiny-alias", messages=[{"role": "user", "content": "@forever"}], stream=True, n=2
    )
    first = next(iter(stream))
    stream.close()
    eventually(lambda: {f"{first.id}-0", f"{first.id}-1"} <= {*aborted(http)})


def test_c34_c35_headers_and_pings_before_the_first_token(pinged: httpx.Client) -> None:
    before = aborted(pinged)
    with pinged.stream("POST", "/v1/chat/completions", json=body("@hang", stream=True)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert [next(lines) for _ in range(4)] == [": ping", "", ": ping", ""]
    eventually(lambda: aborted(pinged) != before)


@pytest.mark.parametrize("text", ["@hang", "@forever"])
def test_c34_a_client_that_leaves_without_a_stream(server: Served, http: httpx.Client, text: str) -> None:
    before = aborted(http)
    data = json.dumps(body(text)).encode()
    host, _, port = server.url.removeprefix("http://").partition(":")
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        eventually(lambda: running(http))
    eventually(lambda: not running(http))
    assert aborted(http) != before


def test_c34_a_client_that_leaves_with_more_requests_behind_the_first(
    server: Served, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    before, data = aborted(http), json.dumps(body("@forever")).encode()
    host, _, port = server.url.removeprefix("http://").partition(":")
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall((f"{head}content-length: {len(data)}\r\n\r\n".encode() + data) * 3)
        eventually(lambda: running(http))
    eventually(lambda: not running(http))
    assert len([*set(aborted(http)) - set(before)]) == 1
    assert "Traceback" not in caplog.text


def test_c34_a_body_that_never_ends_harms_nobody(
    server: Served, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "llmrt.server")
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{")
    eventually(lambda: "POST /v1/completions closed" in caplog.text)
    assert "Traceback" not in caplog.text
    assert content(chat(http, "hi")) == "hi"


def test_c35_a_stream_goes_on_after_pings(pinging_server: Served, pinged: httpx.Client) -> None:
    raw = streamed_after(pinged, "/v1/chat/completions", body("@held hello"), ": ping\n\n")
    assert raw.startswith(": ping\n\n") and "hello" in raw
    with openai.OpenAI(base_url=f"{pinging_server.url}/v1", api_key="none") as client:
        stream = client.chat.completions.create(
            model="tiny-alias", messages=[{"role": "user", "content": "@pause 0.2 hello"}], stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "hello"


@pytest.mark.parametrize("ping_seconds", [0, 0.01])
async def test_c35_pings_can_be_turned_off(ping_seconds: float) -> None:
    got: list[Message] = []
    pinged = asyncio.Event()

    async def slow_records() -> AsyncGenerator[msgspec.Struct, None]:
        for _ in range(2):
            await (pinged.wait() if ping_seconds else asyncio.sleep(0.03))
            yield msgspec.defstruct("Record", [("a", int, 1)])()

    async def send(message: Message) -> None:
        got.append(message)
        if message.get("body") == PING:
            pinged.set()

    stream = RecordStream(slow_records(), ServerSentEvents(), {}, ping_seconds=ping_seconds)
    await stream({"type": "http"}, asyncio.Event().wait, send)
    start, *parts, end = got
    assert start["status"] == 200 and end["body"] == b"" and not end["more_body"]
    sent = [part["body"] for part in parts]
    assert [frame for frame in sent if frame != PING] == [b'data: {"a":1}\n\n'] * 2 + [DONE]
    assert (PING in sent) == (ping_seconds > 0)


def test_c42_a_full_queue_is_refused_at_once(pinged: httpx.Client) -> None:
    with pinged.stream("POST", "/v1/chat/completions", json=body("@hang", stream=True, n=16)) as response:
        lines = response.iter_lines()
        assert next(lines) == ": ping"  # all 16 are under way
        refused = chat(pinged, "hi")
        assert error_of(refused, 429)["code"] == "queue_full"
        assert refused.headers["retry-after"] == "1" and refused.headers["retry-after-ms"] == "1000"
    eventually(lambda: chat(pinged, "hi").status_code == 200)
