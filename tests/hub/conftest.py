from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from huggingface_hub import constants

from llmrt.hub import download, reach
from tests.hub.hub_server import HubServer

Serve = Callable[[dict[str, dict[str, bytes]]], HubServer]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store, a Hugging Face cache and a token file of this test's own; no waiting between retries.

    The hub is in this process, and may be slow to answer on a busy machine.
    """
    monkeypatch.setenv("LLMRT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(download, "RETRY_SECONDS", 0)
    monkeypatch.setattr(reach, "PROBE_SECONDS", 60)
    use_endpoint(monkeypatch, "http://127.0.0.1:9")  # nothing listens there


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a hub with these repositories and make it the one that HF_ENDPOINT names."""
    with ExitStack() as servers:

        def start(repos: dict[str, dict[str, bytes]]) -> HubServer:
            hub = servers.enter_context(HubServer(repos))
            use_endpoint(monkeypatch, hub.url)
            return hub

        yield start


@pytest.fixture
def said() -> list[str]:
    """The lines that were reported."""
    return []


def use_endpoint(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What HF_ENDPOINT does when huggingface_hub is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
