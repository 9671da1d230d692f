from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import ollama
import openai
import pytest
from serving import PATIENCE, Served, serving, write_model
from tool_templates import QWEN

from llmrt.config import EngineConfig, ServerSettings
from llmrt.server.engine_process import EngineProcess


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny-chat")


@pytest.fixture
def engines_may_start(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set; while it is not, no engine is started."""
    allowed, start = threading.Event(), EngineProcess.start

    async def start_if_allowed(*arguments: Any) -> EngineProcess:
        while not allowed.is_set():
            await asyncio.sleep(0.01)
        return await start(*arguments)

    monkeypatch.setattr(EngineProcess, "start", start_if_allowed)
    allowed.set()
    return allowed


@pytest.fixture(scope="session")
def server(model_path: Path) -> Iterator[Served]:
    """One server for every test that does not end it. It sends no pings, however slow this machine is."""
    with serving(model_path, ServerSettings(ping_seconds=0, max_open_requests=16)) as served:
        yield served


def openai_client(server: Served) -> openai.OpenAI:
    """The real client, which checks every body against its types."""
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, _strict_response_validation=True)


@pytest.fixture(scope="session")
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai_client(server) as client:
        yield client


@pytest.fixture(scope="session")
def http(server: Served) -> Iterator[httpx.Client]:
    """A client that shows bytes and headers."""
    with server.http() as client:
        yield client


@pytest.fixture(scope="session")
def thinking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model whose template shows tools and has thoughts with a switch."""
    path = write_model(tmp_path_factory.mktemp("thinking") / "model", template=QWEN)
    settings = ServerSettings(ping_seconds=0, max_open_requests=4)
    with serving(path, settings, EngineConfig(context_length=4096)) as served:
        yield served


@pytest.fixture(scope="session")
def pinging_server(model_path: Path) -> Iterator[Served]:
    """One that soon gives a sign of life."""
    settings = ServerSettings(ping_seconds=0.05, max_open_requests=16)
    with serving(model_path, settings, EngineConfig(context_length=4096)) as served:
        yield served


@pytest.fixture(scope="session")
def pinged(pinging_server: Served) -> Iterator[httpx.Client]:
    """A client of it that shows bytes and headers."""
    with pinging_server.http() as client:
        yield client


@pytest.fixture(scope="session")
def thinker(thinking_server: Served) -> Iterator[httpx.Client]:
    """A client of it that shows bytes and headers."""
    with thinking_server.http() as client:
        yield client


@pytest.fixture(scope="session")
def gpt(thinking_server: Served) -> Iterator[openai.OpenAI]:
    """OpenAI's client of the thinking server."""
    with openai_client(thinking_server) as client:
        yield client


@pytest.fixture(scope="session")
def claude(thinking_server: Served) -> Iterator[anthropic.Anthropic]:
    """Anthropic's client of the thinking server."""
    with anthropic.Anthropic(
        base_url=thinking_server.url, api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture(scope="session")
def llama(thinking_server: Served) -> ollama.Client:
    """Ollama's client of the thinking server."""
    return ollama.Client(host=thinking_server.url, timeout=PATIENCE)
