from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from serving import Served, serving, write_model

from llmrt.config import ServerSettings

MAX_OPEN = 16


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny-chat")


@pytest.fixture(scope="session")
def server(model_path: Path) -> Iterator[Served]:
    """One server for every test that does not end it."""
    settings = ServerSettings(ping_seconds=0.1, max_open_requests=MAX_OPEN)
    with serving(model_path, settings) as served:
        yield served


@pytest.fixture(scope="session")
def client(server: Served) -> Iterator[openai.OpenAI]:
    """The real client, which checks every body against its types."""
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture(scope="session")
def http(server: Served) -> Iterator[httpx.Client]:
    """A client that shows bytes and headers."""
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client
