"""The request log, as text and as JSON: what is in it, what is not, and that nobody else writes lines of it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import chat, eventually, serving

from llmrt.config import ServerSettings
from llmrt.errors import ConfigError
from llmrt.server import runner
from llmrt.server.logs import JsonLines

Lines = Callable[[str, httpx.Response], dict[str, Any]]


@pytest.fixture
def line_of(caplog: pytest.LogCaptureFixture) -> Lines:
    """The JSON line of an event of the request with this response, once there is one."""
    caplog.set_level("DEBUG", "llmrt.server")

    def find(event: str, response: httpx.Response) -> list[dict[str, Any]]:
        every = [json.loads(JsonLines().format(record)) for record in caplog.records]
        own = {"message": event, "request_id": response.headers["x-request-id"]}
        return [line for line in every if own.items() <= line.items()]

    def line_of(event: str, response: httpx.Response) -> dict[str, Any]:
        (line,) = eventually(lambda: find(event, response))
        return line

    return line_of


@pytest.mark.parametrize("stream", [False, True])
def test_c44_a_line_has_the_requests_id_and_its_tokens(http: httpx.Client, line_of: Lines, stream: bool) -> None:
    body = {"messages": [{"role": "user", "content": "one two three"}], "stream": stream}
    given, began = f"mine-7-{stream}", time.monotonic()
    response = http.post("/v1/chat/completions?key=hidden", json=body, headers={"x-request-id": given})
    line = line_of("request", response)
    assert list(line)[:3] == ["time", "level", "message"] and line["level"] == "info"
    assert (line["request_id"], line["method"], line["path"]) == (given, "POST", "/v1/chat/completions")
    assert line["status"] == 200 and 0 < line["seconds"] < time.monotonic() - began
    assert (line["client"], line["model"]) == ("127.0.0.1", "tiny-alias")
    usage = chat(http, "one two three").json()["usage"]
    assert {name: line[name] for name in ("prompt_tokens", "completion_tokens")}.items() <= usage.items()


def test_every_kind_of_request_is_logged(http: httpx.Client, line_of: Lines, caplog: pytest.LogCaptureFixture) -> None:
    embedded = line_of("request", http.post("/v1/embeddings", json={"input": ["ab", "c"]}))
    nowhere = line_of("request", http.get("/nowhere"))
    assert (embedded["prompt_tokens"], embedded["completion_tokens"], nowhere["status"]) == (3, 0, 404)
    assert nowhere["error"] == "unknown_url" and not {"model", "prompt_tokens"} & nowhere.keys()
    assert "POST /v1/embeddings 200" in caplog.text and "tiny-alias 3+0 tokens" in caplog.text


def test_answers_to_health_checks_are_for_who_asks_for_everything(http: httpx.Client, line_of: Lines) -> None:
    for path in ("/health", "/ready", "/metrics"):
        assert line_of("request", http.get(path))["level"] == "debug"
    assert line_of("request", http.get("/v1/models"))["level"] == "info"


FORWARDED = [
    ("203.0.113.7", "203.0.113.7"),
    ("6.6.6.6, 203.0.113.7", "203.0.113.7"),  # the first is what the client says of itself
    ("203.0.113.7, 127.0.0.2", "203.0.113.7"),  # through two proxies
    ("2001:db8::1", "2001:db8::1"),
    ("somebody", "-"),
]


def _has_ipv6() -> bool:
    try:
        runner.bind("::", 0).close()
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", *(["::"] if _has_ipv6() else [])])  # the latter sees IPv4 as IPv6
def test_a_clients_address_is_taken_from_proxies_that_are_trusted_alone(
    model_path: Path, http: httpx.Client, line_of: Lines, host: str
) -> None:
    for told, _ in FORWARDED:
        response = http.get("/v1/models", headers={"x-forwarded-for": told})
        assert line_of("request", response)["client"] == "127.0.0.1"
    settings = ServerSettings(trusted_proxies=("127.0.0.0/8",))
    with serving(model_path, settings, host=host) as served, served.http() as proxy:
        assert line_of("request", proxy.get("/v1/models"))["client"] == "127.0.0.1"
        for told, client in FORWARDED:
            response = proxy.get("/v1/models", headers={"x-forwarded-for": told})
            assert line_of("request", response)["client"] == client


def test_prompts_are_not_logged_unless_it_is_asked_for(
    model_path: Path, http: httpx.Client, line_of: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    text = 'my "secret"\nreq_1 GET /forged 200'
    assert line_of("request", chat(http, text))["status"] == 200
    assert "secret" not in caplog.text
    with serving(model_path, ServerSettings(log_prompts=True)) as served, served.http() as telling:
        assert text in line_of("prompt", chat(telling, text))["prompt"]
        embedded = telling.post("/v1/embeddings", json={"input": "of a vector"})
        assert line_of("prompt", embedded)["prompt"] == "of a vector"
    assert "\nreq_1 GET /forged" not in caplog.text  # it is one line


@pytest.mark.parametrize("given", ["x" * 129, "two words", "é", "a\tb", ""])
def test_c44_an_id_that_could_harm_a_log_is_replaced(http: httpx.Client, line_of: Lines, given: str) -> None:
    response = http.get("/health", headers={"x-request-id": given.encode()})
    assert response.headers["x-request-id"].startswith("req_")
    assert line_of("request", response)["path"] == "/health"


def test_a_failure_is_a_line_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("llmrt.server").exception("x failed", extra={"fields": {"request_id": "r"}})
    text = JsonLines().format(caplog.records[-1])
    line = json.loads(text)
    assert (line["level"], line["message"], line["request_id"]) == ("error", "x failed", "r")
    assert "ValueError: two\nlines" in line["exception"] and "\n" not in text


def test_all_of_stderr_is_json() -> None:
    code = (
        "import logging; from llmrt.server.logs import LogFormat, log_to_stderr; log_to_stderr(LogFormat.json);"
        "logging.getLogger('uvicorn.error').warning('of %s', 'others'); logging.getLogger('uvicorn').info('no')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["level"], line["message"]) == ("warning", "of others")
