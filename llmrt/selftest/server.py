"""The server that is checked: requests as clients send them, answers as they arrive."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx2

from llmrt.errors import ConfigError, ModelNotFoundError
from llmrt.remote_server import connection_errors, context_length, server_root, unknown_key

CHAT = "/v1/chat/completions"
TIMEOUT = httpx2.Timeout(120, connect=5)
NO_REUSE = httpx2.Limits(max_keepalive_connections=0)


@dataclass(frozen=True)
class Stream:
    """A stream as it came: ``data`` are the payloads of its events, ``text`` is all of it."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def data(self) -> list[str]:
        """What stands behind each ``data:``."""
        return [line.removeprefix("data:").strip() for line in self.text.splitlines() if line.startswith("data:")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The events of it that are JSON."""
        return [json.loads(data) for data in self.data if data != "[DONE]"]

    def deltas(self, index: int = 0) -> list[dict[str, Any]]:
        """What each chunk of a choice adds."""
        return [c["delta"] for chunk in self.chunks for c in chunk["choices"] if c["index"] == index]

    def content(self, index: int = 0) -> str:
        """The text of a choice."""
        return "".join(delta.get("content") or "" for delta in self.deltas(index))


@dataclass(frozen=True)
class Server:
    """``orders`` are prompts that bring about what an ordinary model cannot, such as a failure amid a stream."""

    url: str
    model: str
    api_key: str | None = None
    orders: Mapping[str, str] = field(default_factory=dict[str, str])

    @cached_property
    def client(self) -> httpx2.Client:
        """A new connection for each request, as many as are wanted at once: no check suffers from another's."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=TIMEOUT, limits=NO_REUSE)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """A page. Raises ``UnavailableError`` for a connection that breaks, here as below."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """The answer to a body of JSON."""
        return self.request("POST", path, json=body, headers=headers)

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """The answer to any request."""
        with connection_errors(self.url):
            return self.client.request(method, path, **options)

    def chat(self, messages: str | Sequence[Mapping[str, Any]], **fields: Any) -> dict[str, Any]:
        """A whole answer; greedy and short unless ``fields`` say otherwise. Raises ``ConfigError`` if it is refused."""
        return self.ok(CHAT, self.body(messages, **fields))

    def ok(self, path: str, body: Any) -> dict[str, Any]:
        """The JSON of an answer with status 200. Raises ``ConfigError`` for another."""
        response = self.post(path, body)
        if response.status_code != 200:
            raise ConfigError(f"{path} answers {response.status_code}: {response.text[:200]}")
        return response.json()

    def stream(self, messages: str | Sequence[Mapping[str, Any]], **fields: Any) -> Stream:
        """A streamed answer, read to its end."""
        stream = self.stream_of(CHAT, self.body(messages, stream=True, **fields))
        if stream.status != 200:
            raise ConfigError(f"{CHAT} answers {stream.status}: {stream.text[:200]}")
        return stream

    def stream_of(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Stream:
        """The same of any route, whatever its status."""
        with self.open(path, body, headers) as response:
            return Stream(response.status_code, response.headers, "".join(response.iter_text()))

    @contextmanager
    def open(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Generator[httpx2.Response]:
        """A response whose body is read as it comes; leaving the block closes the connection."""
        with (
            connection_errors(self.url),
            self.client.stream("POST", path, json=body, headers=headers) as response,
        ):
            yield response

    def body(self, messages: str | Sequence[Mapping[str, Any]], **fields: Any) -> dict[str, Any]:
        """A request for a chat."""
        said = [{"role": "user", "content": messages}] if isinstance(messages, str) else [*messages]
        return {"model": self.model, "messages": said, "temperature": 0, "max_tokens": 24, **fields}


def find_server(url: str, model: str | None, api_key: str | None) -> Server:
    """The server at ``url`` and the model to ask, its first one for None. Raises ``LlmrtError`` if it is not there."""
    root = server_root(url)
    server = Server(root, model or "", api_key)
    response = server.get("/v1/models")
    if response.status_code == 401:
        raise unknown_key(root)
    models = _listed(response)
    if model is not None:
        _check_chat(server, models)
        return server
    if response.status_code != 200:
        raise ConfigError(f"{root}/v1/models answers {response.status_code}: {response.text[:200]}")
    if not models:
        raise ModelNotFoundError(f"{root} does not say which models it serves; name one with --model")
    return Server(root, models[0], api_key)


def context_of(server: Server) -> int | None:
    """The context length that the server states of its model, also where that has a name that is not listed."""
    entries: list[dict[str, Any]] = server.get("/v1/models").json()["data"]
    listed = next((entry for entry in entries if entry["id"] == server.model), None)
    return context_length(listed or _unlisted(server))


def _unlisted(server: Server) -> dict[str, Any]:
    response = server.get(f"/v1/models/{server.model}")
    if response.status_code != 200:
        raise ModelNotFoundError(f"{server.model} is not among the models")
    return response.json()


def _listed(response: httpx2.Response) -> list[str]:
    """The models of ``/v1/models``, none where the answer has another form."""
    try:
        return [model["id"] for model in response.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return []


def _check_chat(server: Server, models: Sequence[str]) -> None:
    """Names that are not listed may be known too. A 404 speaks of the model or of the route, which no code tells."""
    response = server.post(CHAT, server.body("hi", max_tokens=1))
    if response.status_code != 404:
        return
    if models and server.model not in models:
        raise ModelNotFoundError(f"{server.url} serves no model {server.model}; name another with --model")
    raise ConfigError(f"{server.url}{CHAT} answers 404: {response.text[:200]}")
