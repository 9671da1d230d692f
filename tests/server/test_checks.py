"""The checks of ``llmrt selftest``: complete, able to fail, and those that need orders with the scripted engine."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import typer
from serving import Served

from llmrt.cli.selftest import selftest
from llmrt.errors import LlmrtError
from llmrt.selftest.catalogue import CHECKS
from llmrt.selftest.check import run_check
from llmrt.selftest.server import Server, find_server

ORDERS = {"fail": "@fail", "hang": "@hang", "pause": "@pause 2 hello"}
BY_NUMBER = {check.number: check for check in CHECKS}
ALL = [*range(1, 48)]
_NUMBERS = re.compile(r"c([0-9]+)")


@pytest.fixture
def scripted(server: Served) -> Server:
    return Server(server.url, "tiny-alias", orders=ORDERS)


def test_the_list_is_complete() -> None:
    assert [check.number for check in CHECKS] == ALL
    assert len({check.summary for check in CHECKS}) == 47


def test_every_behaviour_has_a_test_of_its_own_name_too() -> None:
    names = [
        name
        for path in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r"def test_((?:c[0-9]+_)+)", path.read_text())
    ]
    named = {int(number) for name in names for number in _NUMBERS.findall(name)}
    assert set(ALL) <= named


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 8, 9, 11, 13, 14, 18, 19, 33, 38, 39, 42, 43, 44, 45])
def test_with_a_scripted_engine(scripted: Server, number: int) -> None:
    result = run_check(BY_NUMBER[number], scripted)
    assert result.outcome == "pass", result.seen


@pytest.mark.parametrize("number", [34, 35])
def test_while_the_scripted_engine_says_nothing(pinging_server: Served, number: int) -> None:
    result = run_check(BY_NUMBER[number], Server(pinging_server.url, "tiny-alias", orders=ORDERS))
    assert result.outcome == "pass", result.seen


def test_c37_greedy_text_is_the_same_with_a_cold_and_a_warm_cache(scripted: Server) -> None:
    result = run_check(BY_NUMBER[37], scripted)
    assert result.outcome == "pass" and "[0, " in result.seen, result.seen


def test_c43_asks_of_the_model_that_is_meant(scripted: Server) -> None:
    check = BY_NUMBER[43]
    assert run_check(check, replace(scripted, model="tiny-chat")).seen == "512 tokens"  # its folder's name, not listed
    result = run_check(check, replace(scripted, model="another"))
    assert (result.outcome, result.seen) == ("fail", "another is not among the models")


class Careless(BaseHTTPRequestHandler):
    """Answers everything with the same body, as a server does that heeds nothing."""

    ended = itertools.count()

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        message = {"role": "assistant", "content": "one two three four five"}
        whole = {"id": "1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        chunk = {"choices": [{"index": 0, "delta": {"content": "one"}, "finish_reason": "stop"}]}
        streamed = b'"stream": true' in asked or b'"stream":true' in asked
        self._send(f"data: {json.dumps(chunk)}\n\n" if streamed else json.dumps(whole))

    def do_GET(self) -> None:
        models = json.dumps({"data": [{"id": "m", "max_model_len": 4096}]})
        ended = f'vllm:request_success_total{{finished_reason="stop"}} {next(self.ended)}'
        self._send(ended if self.path == "/metrics" else models)

    def _send(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


class Chatless(Careless):
    """Lists a model and has no route for chats."""

    def do_POST(self) -> None:
        self.send_error(404)


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def careless() -> Iterator[Server]:
    with listening(Careless) as url:
        yield find_server(url, None, None)


# Where its answers are as good as any: it has no key, takes every field and role, and says the same again and again.
GOOD_ENOUGH = {20, 22, 25, 26, 27, 28, 33, 36, 37, 45}
FROM_INSIDE = {11, 35, 42}


@pytest.mark.parametrize("number", [number for number in ALL if number not in GOOD_ENOUGH | FROM_INSIDE])
def test_a_careless_server_fails(careless: Server, number: int) -> None:
    result = run_check(BY_NUMBER[number], careless)
    assert result.outcome == "fail" and result.seen


def test_the_command_prints_a_matrix_and_ends_with_status_1(
    careless: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as end:
        selftest(url=careless.url, model=None, api_key=None, as_json=True)
    assert end.value.exit_code == 1
    said = json.loads(capsys.readouterr().out)
    assert sum(said["counts"].values()) == len(said["checks"]) == 47
    with pytest.raises(typer.Exit):
        selftest(url=careless.url, model="m", api_key=None)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("C") for line in lines) == 47
    assert lines[-1].startswith(f"m at {careless.url}: ")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:8080", "it must be an address such as"),
        ("http://127.0.0.1:9", "no server answers at http://127.0.0.1:9"),
    ],
)
def test_a_server_that_is_not_there(url: str, message: str) -> None:
    with pytest.raises(LlmrtError, match=message):
        find_server(url, None, None)


def test_a_model_that_is_not_served(http: httpx.Client) -> None:
    with pytest.raises(LlmrtError, match="serves no model nope"):
        find_server(str(http.base_url), "nope", None)
    assert find_server(str(http.base_url), "tiny-alias", None).model == "tiny-alias"


def test_a_server_without_chats_is_not_said_to_lack_a_model(http: httpx.Client) -> None:
    with listening(Chatless) as listed:
        for url, model in ((listed, "m"), (str(http.base_url.join("/elsewhere")), "tiny-alias")):
            with pytest.raises(LlmrtError, match="/v1/chat/completions answers 404"):
                find_server(url, model, None)
