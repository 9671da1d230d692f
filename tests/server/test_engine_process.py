"""The engine as a process: its death, its loading, and that it never outlives the server."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from serving import (
    PATIENCE,
    WORKER,
    artifact_of,
    chat,
    client_of,
    content,
    engines_of,
    error_of,
    eventually,
    is_running,
    serving,
    start_process,
    streamed_text,
    wait_for_url,
)

from llmrt.config import EngineConfig, ServerSettings
from llmrt.errors import ConfigError, LlmrtError
from llmrt.server import engine_process, runner
from llmrt.server.served_model import ModelSpec


def test_c11_c42_an_engine_that_is_killed_ends_its_streams_and_is_followed_by_another(
    model_path: Path, engines_may_start: threading.Event
) -> None:
    with serving(model_path, ServerSettings()) as served, served.http() as http:
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0)
        engines_may_start.clear()
        with http.stream("POST", "/v1/completions", json={"prompt": "@hang", "stream": True}) as other:
            stream = client.chat.completions.create(
                model="tiny-alias", messages=[{"role": "user", "content": "@die"}], stream=True
            )
            with pytest.raises(openai.APIError, match="was killed"):
                for _ in stream:
                    pass
            assert "was killed" in other.read().decode()
        for refused in (http.get("/ready"), http.get("/v1/models"), chat(http, "hi")):
            assert error_of(refused, 503)["code"] == "model_loading"
            assert 0 < int(refused.headers["retry-after"]) < 60  # the client obeys up to a minute
        assert http.get("/health").status_code == 200
        with pytest.raises(openai.InternalServerError):
            client.models.list()
        engines_may_start.set()
        eventually(lambda: http.get("/ready").status_code == 200)
        assert content(chat(http, "alive")) == "alive"


def test_c11_c42_an_engine_whose_step_never_ends_is_followed_by_another(
    model_path: Path,
    engines_may_start: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(engine_process, "_STEP_SECONDS", 2.4)
    with serving(model_path, ServerSettings()) as served, served.http() as http:
        engines_may_start.clear()
        with http.stream("POST", "/v1/completions", json={"prompt": "@spin", "stream": True}) as stream:
            assert "ended no step for 2.4 s" in stream.read().decode()
        error_of(http.get("/ready"), 503)
        engines_may_start.set()
        eventually(lambda: http.get("/ready").status_code == 200)
        assert "the engine of tiny-alias is started again in 0.5 s" in caplog.messages
        assert any(line.startswith("the engine of tiny-alias has ended: The engine pr") for line in caplog.messages)
        assert content(chat(http, "@pause 3.2 alive")) == "alive"  # steps that give nothing are no standstill


def test_c8_the_openai_client_outlasts_a_restart(model_path: Path) -> None:
    """It comes back after each time that it is told; how often depends on how soon the engine is there again."""
    with serving(model_path, ServerSettings()) as served, served.http() as http:
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=20)
        error_of(chat(http, "@die"), 503)
        answer = client.completions.create(model="tiny-alias", prompt="still here", max_tokens=10)
    assert answer.choices[0].text == "still here"


def test_c11_an_answer_that_is_not_streamed_dies_with_the_engine(model_path: Path) -> None:
    with serving(model_path, ServerSettings()) as served, served.http() as http:
        assert error_of(chat(http, "@die"), 503)["code"] == "engine_dead"


def test_c42_requests_while_the_model_is_loaded(model_path: Path) -> None:
    config = EngineConfig(device="slow")
    with serving(model_path, ServerSettings(), config) as served, served.http() as http:
        response = eventually(lambda: _response(http, "/ready"))
        assert error_of(response, 503)["code"] == "model_loading"
        for refused in (chat(http, "hi"), chat(http, "hi", stream=True), http.get("/v1/models")):
            assert error_of(refused, 503)["code"] == "model_loading"
            assert refused.headers["retry-after"] and refused.headers["retry-after-ms"]
        assert error_of(chat(http, "hi", temperature="x"), 400)
    assert served.reports == []


def test_that_kernels_are_compiled_is_told(model_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "llmrt.server")
    with serving(model_path, ServerSettings(), EngineConfig(device="compiling")) as served, served.http() as http:
        assert content(chat(http, "ready")) == "ready"
    assert "compiling 60 kernels for the GPU; later starts find them on disk" in caplog.messages


def _response(http: httpx.Client, path: str) -> httpx.Response | None:
    try:
        return http.get(path)
    except httpx.ConnectError:
        return None


@pytest.fixture
def service_manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd makes for a unit of Type=notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE)
        yield sock


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_c42_signals_drain_streams(
    model_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch, service_manager: socket.socket
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", service_manager.getsockname())
    server = start_process(model_path)
    with client_of(wait_for_url(server)) as http:
        (worker,) = engines_of(server.pid)
        body = {"prompt": "@pause 0.1 done", "stream": True}
        with http.stream("POST", "/v1/completions", json=body) as stream:
            assert service_manager.recv(99) == b"READY=1"
            server.send_signal(number)
            os.kill(worker, number)  # a terminal and a service manager signal the whole group
            assert service_manager.recv(99) == b"STOPPING=1"
            stream.read()
    assert streamed_text(stream) == "done"
    _, errors = server.communicate()
    assert (server.returncode, errors) == (0, "")
    assert not is_running(worker)


def test_c42_a_stream_that_does_not_end_is_told_of_the_end(model_path: Path) -> None:
    server = start_process(model_path, drain=0.3)
    body = {"prompt": "@hang", "stream": True}
    with client_of(wait_for_url(server)) as http, http.stream("POST", "/v1/completions", json=body) as stream:
        server.terminate()
        assert '"The server is shutting down."' in stream.read().decode()
    _, errors = server.communicate()
    assert (server.returncode, errors) == (0, "")


def test_under_nohup_a_terminal_that_closes_ends_nothing(model_path: Path) -> None:
    server = start_process(model_path, prefix=["nohup"])
    with client_of(wait_for_url(server)) as http:
        server.send_signal(signal.SIGHUP)
        assert content(chat(http, "still here")) == "still here"
    server.terminate()
    server.communicate()
    assert server.returncode == 0


def test_a_server_that_is_killed_takes_its_engine_along(model_path: Path) -> None:
    server = start_process(model_path)
    with client_of(wait_for_url(server)) as http:
        (worker,) = engines_of(server.pid)
        with http.stream("POST", "/v1/completions", json={"prompt": "@forever", "stream": True}):
            server.kill()
    eventually(lambda: not is_running(worker))
    server.communicate()


def test_an_engine_that_is_still_loading_does_not_outlive_the_server(model_path: Path) -> None:
    server = start_process(model_path, device="slow")
    (worker,) = eventually(lambda: engines_of(server.pid))
    server.kill()
    eventually(lambda: not is_running(worker))
    server.communicate()


async def test_a_model_that_cannot_be_loaded_ends_the_server(model_path: Path) -> None:
    reports: list[str] = []
    with runner.bind("127.0.0.1", 0) as sock, pytest.raises(LlmrtError) as caught:
        await runner.serve(
            [ModelSpec(artifact_of(model_path), EngineConfig(device="broken"))],
            sock,
            settings=ServerSettings(),
            report=reports.append,
            command=WORKER,
        )
    assert (str(caught.value), reports) == ("the weights are not there", [])


def test_the_address_is_checked_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1 port {port} .*--port"):
            runner.bind("127.0.0.1", port)
    with pytest.raises(ConfigError, match="--host"):
        runner.bind("no.such.host.invalid", 0)


def test_the_url_is_reported_with_the_engines_notices(model_path: Path) -> None:
    with serving(model_path, ServerSettings()) as served, served.http() as http:
        assert content(chat(http, "hi")) == "hi"
    assert served.reports == [
        "the engine is scripted",
        f"tiny-alias is served at {served.url}/v1 (context: 512 tokens); a chat for browsers at {served.url}/",
    ]
