"""``llmrt chat --url`` with our own server on a port, and with ones that answer badly."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from llmrt.cli.conversation import Conversation
from llmrt.cli.remote import RemoteSession
from llmrt.config import ServerSettings
from llmrt.engine.request import SamplingParams
from llmrt.errors import ConfigError, LlmrtError
from llmrt.remote_server import server_root
from tests.cli.conftest import CommandLine
from tests.server.serving import Served, aborted, eventually, serving, write_model

GREEDY = SamplingParams(temperature=0, max_tokens=200)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(write_model(tmp_path_factory.mktemp("remote") / "tiny"), ServerSettings()) as server:
        yield server


def conversation(served: Served, model: str | None = None) -> Conversation:
    return Conversation(RemoteSession(served.url, model, None), GREEDY)


def test_one_answer_on_the_command_line(served: Served, llmrt: CommandLine) -> None:
    status, out, err = llmrt("chat", "--url", served.url, "--prompt", "wörld 🌍")
    assert (status, out) == (0, "wörld 🌍\n")
    assert f"talking to tiny-alias at {served.url}/v1" in err


@pytest.mark.parametrize("route", ["/", "/v1", "/v1/", "/v1/chat/completions", "/v1/models/", "/chat/completions"])
def test_an_address_may_end_with_a_route(served: Served, route: str) -> None:
    assert RemoteSession(served.url + route, None, None).url == f"{served.url}/v1"


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://h/models", "http://h/models"),
        ("https://models", "https://models"),
        ("https://messages/v1/models", "https://messages"),
        ("http://h:1/proxy/responses/", "http://h:1/proxy/responses"),
        ("https://h/api/v1/chat/completions", "https://h/api"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ("http://h/v1beta", "http://h/v1beta"),
    ],
)
def test_what_is_no_route_stays_in_an_address(url: str, root: str) -> None:
    assert server_root(url) == root


@pytest.mark.parametrize("url", ["http://", "http://[::1", "ftp://h", "h/v1"])
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(ConfigError, match="it must be an address such as http://127"):
        server_root(url)


def test_what_was_said_and_the_settings_reach_the_server(served: Served) -> None:
    talk = conversation(served)
    assert "".join(talk.ask("one")) == "one"
    talk.system = "Be brief."
    prompt = "".join(talk.ask("@prompt"))
    assert [prompt.index(text) for text in ("Be brief.", "one", "@prompt")] == sorted(
        prompt.index(text) for text in ("Be brief.", "one", "@prompt")
    )
    talk = conversation(served)  # for what the parameters take of the context
    talk.params = SamplingParams(temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, seed=3, max_tokens=400)
    params = json.loads("".join(talk.ask("@params")))
    assert {name: params[name] for name in ("temperature", "top_p", "top_k", "min_p", "seed")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "min_p": 0.1,
        "seed": 3,
    }


def test_statistics_are_the_servers_usage(served: Served) -> None:
    talk = conversation(served)
    assert talk.session.context_length == 512
    assert "".join(talk.ask("hello")) == "hello"
    last = talk.session.last
    assert last is not None and last.finish_reason == "stop"
    assert last.num_prompt_tokens > 5 and last.num_output_tokens == 2


def test_leaving_an_answer_stops_the_server_and_keeps_its_beginning(served: Served) -> None:
    talk = conversation(served)
    with closing(talk.ask("@forever")) as pieces:
        first = next(pieces)
    assert talk.messages[-1] == {"role": "assistant", "content": first}
    assert talk.session.last is not None and talk.session.last.finish_reason == "abort"
    with served.http() as http:
        assert eventually(lambda: aborted(http))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("@fail", "the engine failed midway"),
        ("@reject", "the engine refuses this"),
        ("x" * 2000, "answers 400: This model's maximum context length is 512 tokens"),
    ],
)
def test_what_the_server_says_of_a_turn_is_shown(served: Served, message: str, expected: str) -> None:
    talk = conversation(served)
    with pytest.raises(LlmrtError, match=expected):
        list(talk.ask(message))
    assert not talk.messages or message == "@fail"


def test_a_wrong_model_a_wrong_place_and_options_of_another_kind(served: Served, llmrt: CommandLine) -> None:
    for arguments, expected in (
        (("gpt-4", "--url", served.url), f"{served.url}/v1 serves no model gpt-4; it serves tiny-alias."),
        (("--url", "http://127.0.0.1:9"), "no server answers at http://127.0.0.1:9/v1"),
        (("--url", "127.0.0.1:8080"), "--url is '127.0.0.1:8080'; it must be an address such as"),
        (("--url", served.url, "--quant", "int4"), "--quant is for a model in this process; leave it out with --url."),
        (("--url", served.url, "--temperature", "9"), "--temperature is 9"),
        ((), "chat needs a MODEL, or the --url of a server that has one."),
    ):
        status, _, err = llmrt("chat", *arguments, "--prompt", "x")
        assert status == 1 and expected in err, (arguments, err)


def test_a_key_is_asked_for_and_sent(tmp_path: Path, llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLMRT_API_KEY", raising=False)
    seen: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        key = request.headers.get("Authorization")
        seen.append(key)
        return (200, b'{"data": [{"id": "m"}]}') if key == "Bearer sk-1" else (401, b'{"error": {"message": "no"}}')

    with stub(answer) as url:
        status, _, err = llmrt("chat", "--url", url, "--prompt", "x")
        assert status == 1 and "asks for a key that it knows; give it in LLMRT_API_KEY or with --api-key" in err
        RemoteSession(url, None, "sk-1")
    assert seen == [None, "Bearer sk-1"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<html>hello</html>", "does not answer as an OpenAI-compatible server does"),
        (b'{"data": []}', "does not say which models it serves"),
    ],
)
def test_another_kind_of_server(body: bytes, expected: str) -> None:
    with stub(lambda request: (200, body)) as url, pytest.raises(LlmrtError, match=expected):
        RemoteSession(url, None, None)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([{"choices": [{"delta": {"content": "Hi"}}]}], "ended the answer in its midst"),
        ([{"error": {"message": "out of memory"}}], "out of memory"),
        (["no object"], "does not answer as an OpenAI-compatible server does"),
    ],
)
def test_a_stream_that_goes_wrong(events: list[Any], expected: str) -> None:
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        return (200, b'{"data": [{"id": "m"}]}') if request.command == "GET" else (200, stream)

    with stub(answer) as url, pytest.raises(LlmrtError, match=expected):
        list(RemoteSession(url, None, None).answer([], GREEDY))


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thoughts_are_shown_and_not_sent_back(name: str) -> None:
    deltas = [{name: "so"}, {name: " what"}, {"content": "Hi"}, {"content": "!"}]
    events = [{"choices": [{"delta": delta}]} for delta in deltas]
    events += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()
    asked: list[Any] = []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        if request.command == "GET":
            return 200, b'{"data": [{"id": "m"}]}'
        asked.append(json.loads(request.rfile.read(int(request.headers["content-length"])))["messages"])
        return 200, stream

    with stub(answer) as url:
        talk = Conversation(RemoteSession(url, None, None), GREEDY)
        for text in ("one", "two"):
            assert "".join(talk.ask(text)) == "<think>\nso what\n</think>\n\nHi!"
    assert [message["content"] for message in asked[1]] == ["one", "Hi!", "two"]


@contextmanager
def stub(answer: Callable[[BaseHTTPRequestHandler], tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
