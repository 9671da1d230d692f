"""Several models behind one port: loaded when a request names them, and unloaded when they are idle."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from serving import artifact_of, chat, content, engines_of, error_of, eventually, serving_all

from llmrt.config import EngineConfig, ServerSettings
from llmrt.errors import ConfigError
from llmrt.server import models
from llmrt.server.engine_client import EngineClient
from llmrt.server.models import Models
from llmrt.server.served_model import ModelSpec

Serve = Callable[..., Any]


@pytest.fixture
def serve(model_path: Path) -> Serve:
    """Serve one model a name, each with its own device, which is an order to the scripted worker."""

    @contextmanager
    def start(*devices: str, **settings: Any) -> Iterator[httpx.Client]:
        artifact = artifact_of(model_path)
        specs = [
            ModelSpec(artifact, EngineConfig(device=device), name) for name, device in zip("abc", devices, strict=False)
        ]
        with (
            serving_all(specs, ServerSettings(**settings)) as served,
            served.http() as http,
        ):
            yield http

    return start


def engines() -> set[int]:
    """The scripted workers of this process, which has those of the session's server too."""
    return {*engines_of(os.getpid())}


def test_a_model_is_loaded_when_a_request_names_it(serve: Serve) -> None:
    before = engines()
    with serve("auto", "auto") as http:
        assert [model["id"] for model in http.get("/v1/models").json()["data"]] == ["a", "b"]
        assert len(engines() - before) == 1
        first, second = http.get("/v1/models/a").json(), http.get("/v1/models/b").json()
        assert first["max_model_len"] == 512 and "max_model_len" not in second
        for name, echoed in ((None, "a"), ("a", "a"), ("b", "b"), ("b:latest", "b")):
            answer = chat(http, "hi", model=name)
            assert content(answer) == "hi" and answer.json()["model"] == echoed
        assert len(engines() - before) == 2
        assert http.get("/v1/models/b").json()["max_model_len"] == 512
    eventually(lambda: engines() == before)


def test_c19_an_unknown_name_is_told_of_those_there_are(serve: Serve) -> None:
    with serve("auto", "auto") as http:
        error = error_of(chat(http, "hi", model="d"), 404)
        assert error["code"] == "model_not_found" and "'a', 'b'" in error["message"]
        error_of(http.get("/v1/models/d"), 404)
        error_of(http.post("/tokenize", json={"model": "d", "prompt": "x"}), 404)


def test_requests_that_come_together_load_a_model_once(serve: Serve) -> None:
    before = engines()
    with serve("auto", "auto") as http:
        with ThreadPoolExecutor(8) as pool:
            answers = [*pool.map(lambda i: content(chat(http, f"hi {i}", model="b")), range(8))]
        assert answers == [f"hi {i}" for i in range(8)] and len(engines() - before) == 2


def test_an_idle_model_makes_room(serve: Serve, tmp_path: Path) -> None:
    narrow = f"narrow {tmp_path / 'memory'}"
    before = engines()
    with serve(narrow, narrow, narrow) as http:
        for name in ("b", "a", "c", "c", "b"):
            assert content(chat(http, "hi", model=name)) == "hi"
            assert len(engines() - before) == 1


def test_a_model_in_use_stays_and_others_are_told_to_wait(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(models, "_IN_USE_SECONDS", 600)  # longer than the test
    narrow = f"narrow {tmp_path / 'memory'}"
    with serve(narrow, narrow, ping_seconds=0.05) as http:
        with http.stream("POST", "/v1/completions", json={"prompt": "@hang", "stream": True}) as stream:
            pieces = stream.iter_lines()
            assert next(pieces)
            for _ in range(3):
                refused = chat(http, "hi", model="b")
                assert "in use" in error_of(refused, 503)["message"] and int(refused.headers["retry-after"]) > 0
            assert sum(message.startswith("b could not be loaded") for message in caplog.messages) == 1
            assert caplog.messages.count("loading b") == 1
            assert next(pieces) is not None and content(chat(http, "hi", model="a")) == "hi"
        eventually(lambda: chat(http, "hi", model="b").status_code == 200)


def test_an_idle_model_leaves_after_a_while_and_comes_back(serve: Serve) -> None:
    before = engines()
    with serve("auto", keep_alive_seconds=0.2) as http:
        assert content(chat(http, "@pause 0.5 hi")) == "hi"  # longer than that, but in use
        eventually(lambda: engines() == before)
        assert http.get("/ready").status_code == 200 and content(chat(http, "hi")) == "hi"


def test_c47_ollamas_keep_alive_says_how_long_a_model_stays(serve: Serve) -> None:
    before = engines()

    def ask(keep_alive: object) -> dict[str, Any]:
        return http.post("/api/chat", json={"model": "a", "messages": [], "keep_alive": keep_alive}).json()

    with serve("auto", keep_alive_seconds=0.2) as http:
        assert ask("1h")["done_reason"] == "load"
        (loaded,) = http.get("/api/ps").json()["models"]
        leaves = datetime.fromisoformat(loaded["expires_at"]) - datetime.now(UTC)
        assert timedelta(minutes=59) < leaves <= timedelta(hours=1)
        time.sleep(0.5)  # longer than the server's own time
        ask(-1)
        assert len(engines() - before) == 1 and http.get("/api/ps").json()["models"][0]["expires_at"] > "9999"
        assert ask(0)["done_reason"] == "unload"
        eventually(lambda: engines() == before)
        assert http.get("/api/ps").json()["models"] == [] and content(chat(http, "hi")) == "hi"


def test_a_model_that_is_asked_for_while_it_leaves_is_loaded_behind_itself(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = EngineClient.close

    async def close_slowly(engine: EngineClient) -> None:
        await asyncio.sleep(0.8)  # a large model's memory takes a while to be free
        await close(engine)

    monkeypatch.setattr(EngineClient, "close", close_slowly)
    with serve(f"narrow {tmp_path / 'memory'}", keep_alive_seconds=0.04) as http:
        for _ in range(2):
            time.sleep(0.2)  # it has begun to leave
            assert content(chat(http, "hi")) == "hi"


def test_a_model_that_cannot_be_loaded_is_an_error_of_its_own_requests(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with serve("auto", "broken") as http:
        for _ in range(2):  # each tries
            error = error_of(chat(http, "hi", model="b"), 500)
            assert error["message"] == "the weights are not there"
        assert caplog.messages.count("b could not be loaded: the weights are not there") == 2
        assert content(chat(http, "hi", model="a")) == "hi"


async def test_two_models_of_one_name_are_refused(model_path: Path) -> None:
    specs = [ModelSpec(artifact_of(model_path), EngineConfig(device=device)) for device in ("cpu", "cuda")]
    with pytest.raises(ConfigError, match=r"tiny-alias.*--served-model-name"):
        await Models.start(specs, ServerSettings())


def test_the_openai_client_sees_all_models(serve: Serve) -> None:
    with serve("auto", "auto") as http:
        client = openai.OpenAI(base_url=str(http.base_url.join("/v1")), api_key="x", _strict_response_validation=True)
        assert [model.id for model in client.models.list()] == ["a", "b"]
        assert client.models.retrieve("b").object == "model"


def test_c46_the_anthropic_client_sees_all_models(serve: Serve) -> None:
    with serve("auto", "auto") as http:
        client = anthropic.Anthropic(base_url=str(http.base_url), api_key="x", _strict_response_validation=True)
        page = client.models.list()
        assert [model.id for model in page] == ["a", "b"] and (page.first_id, page.last_id) == ("a", "b")
        one = client.models.retrieve("b")
        assert (one.type, one.display_name) == ("model", "b") and one.created_at.year > 2000
        assert [model.id for model in client.models.list(limit=1)] == ["a", "b"]  # the client turns the pages
        assert [model.id for model in client.models.list(before_id="b")] == ["a"]
        for query in ({"limit": 0}, {"after_id": "z"}):
            with pytest.raises(anthropic.BadRequestError, match=next(iter(query))):
                client.models.list(**query)
