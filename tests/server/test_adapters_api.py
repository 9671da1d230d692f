"""LoRA adapters over HTTP: chosen by a request's ``model``, loaded and unloaded by who has the admin key."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from serving import chat, content, engines_of, error_of, eventually, serving

from llmrt.config import EngineConfig, ServerSettings
from llmrt.errors import ConfigError
from llmrt.server.adapters import parse_adapter

ADMIN = {"authorization": "Bearer boss"}
Serve = Callable[..., Any]


@pytest.fixture
def serve(model_path: Path) -> Serve:
    @contextmanager
    def start(*adapters: str, **settings: object) -> Iterator[httpx.Client]:
        config = EngineConfig(adapters=tuple((name, f"/adapters/{name}") for name in adapters))
        served = serving(model_path, ServerSettings(**{"admin_keys": ("boss",), **settings}), config)
        with served as server, server.http() as http:
            yield http

    return start


def load(http: httpx.Client, name: str, path: str = "/adapters/x", **fields: object) -> httpx.Response:
    body = {"lora_name": name, "lora_path": path, **fields}
    return http.post("/v1/load_lora_adapter", json=body, headers=ADMIN)


def unload(http: httpx.Client, name: str) -> httpx.Response:
    return http.post("/v1/unload_lora_adapter", json={"lora_name": name}, headers=ADMIN)


def test_a_request_is_answered_with_the_adapter_that_it_names(serve: Serve) -> None:
    with serve("sql", "poems") as http:
        assert content(chat(http, "@adapter", model="sql")) == "sql of sql,poems"
        assert content(chat(http, "@adapter", model="tiny-alias")) == "None of sql,poems"
        answer = chat(http, "@adapter", model="poems").json()
        assert answer["model"] == "poems"
        plain = chat(http, "hi").json()
        assert plain["model"] == "tiny-alias" and plain["system_fingerprint"] != answer["system_fingerprint"]
        body = {"model": "sql", "prompt": "@adapter"}
        assert http.post("/v1/completions", json=body).json()["choices"][0]["text"].startswith("sql of")
        embedded = http.post("/v1/embeddings", json={"model": "sql", "input": "text"})
        assert embedded.status_code == 200 and embedded.json()["model"] == "sql"
        error = error_of(chat(http, "hi", model="prose"), 404)
        assert error["code"] == "model_not_found" and "'sql'" in error["message"]


def test_adapters_are_listed_with_their_parent(serve: Serve) -> None:
    with serve("sql") as http:
        client = openai.OpenAI(base_url=str(http.base_url.join("/v1")), api_key="x", _strict_response_validation=True)
        listed = client.models.list().data
        assert [(model.id, model.to_dict().get("parent")) for model in listed] == [
            ("tiny-alias", None),
            ("sql", "tiny-alias"),
        ]
        assert client.models.retrieve("sql").to_dict()["parent"] == "tiny-alias"


def test_adapters_come_and_go_at_run_time(serve: Serve) -> None:
    with serve() as http:
        assert load(http, "late").json()["message"] == "The LoRA adapter 'late' is loaded."
        assert content(chat(http, "@adapter", model="late")) == "late of late"
        assert "is taken" in error_of(load(http, "late"), 400)["message"]
        assert "is taken" in error_of(load(http, "tiny-alias"), 400)["message"]
        assert unload(http, "late").status_code == 200
        error_of(chat(http, "hi", model="late"), 404)
        error_of(unload(http, "late"), 404)
        assert content(chat(http, "@adapter")) == "None of "
        assert load(http, "late", model="tiny-alias").status_code == 200


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "é", "x" * 129, "a\x1b[31m"])
def test_names_that_would_spoil_a_log_or_a_list_are_refused(name: str, serve: Serve) -> None:
    with serve() as http:
        error = error_of(load(http, name), 400)
        assert error["param"] == "lora_name" and error["message"].isprintable()


def test_an_adapter_that_cannot_be_loaded_is_the_engines_line(serve: Serve) -> None:
    with serve("sql") as http:
        error = error_of(load(http, "bad", "/broken"), 400)
        assert error["message"] == "/broken is no LoRA adapter" and error["param"] == "lora_path"
        error_of(chat(http, "hi", model="bad"), 404)
        assert content(chat(http, "@adapter", model="sql")) == "sql of sql"
        error_of(http.post("/v1/load_lora_adapter", json={"lora_name": "x"}, headers=ADMIN), 400)


def test_only_who_has_the_admin_key_changes_adapters(serve: Serve) -> None:
    body = {"lora_name": "x", "lora_path": "/x"}
    for settings in ({}, {"admin_keys": ()}, {"api_keys": ("guest",)}):
        with serve("sql", **settings) as http:
            headers = {"authorization": "Bearer guest"}
            for route in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
                refused = http.post(route, json=body, headers=headers)
                assert error_of(refused, 403)["code"] == "admin_key_required"
    with serve("sql", api_keys=("guest",)) as http:
        assert load(http, "late").status_code == 200
        assert http.get("/v1/models", headers=ADMIN).status_code == 200
        assert http.get("/v1/models").status_code == 401


@pytest.fixture
def own_engines() -> Callable[[], list[int]]:
    """Those that the test's server started, beside the ones that are there before."""
    others = engines_of(os.getpid())
    return lambda: [pid for pid in engines_of(os.getpid()) if pid not in others]


def test_an_engine_that_follows_another_has_its_adapters(serve: Serve, own_engines: Callable[[], list[int]]) -> None:
    with serve("sql", "gone") as http:
        assert load(http, "late").status_code == 200 and unload(http, "gone").status_code == 200
        (engine,) = own_engines()
        os.kill(engine, signal.SIGKILL)
        eventually(lambda: own_engines() not in ([], [engine]) and http.get("/ready").status_code == 200)
        assert content(chat(http, "@adapter", model="late")) == "late of sql,late"


def test_an_adapter_that_has_gone_bad_is_lost_alone(
    serve: Serve, own_engines: Callable[[], list[int]], tmp_path: Path
) -> None:
    with serve("sql") as http:
        assert load(http, "late", str(tmp_path)).status_code == 200
        (tmp_path / "broken").touch()
        (engine,) = own_engines()
        os.kill(engine, signal.SIGKILL)
        eventually(lambda: own_engines() not in ([], [engine]) and http.get("/ready").status_code == 200)
        assert content(chat(http, "@adapter", model="sql")) == "sql of sql"
        assert error_of(chat(http, "hi", model="late"), 400)["message"] == "late is not loaded"


def test_a_model_that_left_and_comes_back_has_its_adapters(serve: Serve, own_engines: Callable[[], list[int]]) -> None:
    with serve("sql", keep_alive_seconds=0.2) as http:
        assert load(http, "late").status_code == 200
        eventually(lambda: own_engines() == [])
        assert content(chat(http, "@adapter", model="late")) == "late of sql,late"


@pytest.mark.parametrize("text", ["sql", "=path", "sql=", "="])
def test_the_option_is_a_name_and_a_path(text: str) -> None:
    with pytest.raises(ConfigError, match="NAME=PATH"):
        parse_adapter(text)
