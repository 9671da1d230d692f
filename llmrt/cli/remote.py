"""A model behind an OpenAI-compatible server, as ``llmrt chat --url`` talks to it. Free of torch."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2

from llmrt.cli.answer import Statistics
from llmrt.engine.request import EndReason, SamplingParams
from llmrt.errors import ConfigError, LlmrtError, ModelNotFoundError
from llmrt.remote_server import connection_errors, context_length, server_root, unknown_key

# An answer may begin late, behind others; that nobody listens is known at once.
TIMEOUT = httpx2.Timeout(600, connect=5)
ANY_TOKEN = 1 << 31
_THINK, _THOUGHT = "<think>\n", "\n</think>\n\n"
_THOUGHTS = re.compile(rf"\A{_THINK}.*?({_THOUGHT}|\Z)", re.DOTALL)
_FINISHED: dict[str, EndReason] = {"length": "length", "tool_calls": "stop", "content_filter": "stop"}
# Fields of OpenAI's, which every server knows; the others are sent where they are not neutral.
_KNOWN = ("temperature", "top_p")
_OTHERS = ("top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty", "seed", "max_tokens")


class RemoteSession:
    """One answer at a time. ``last`` has the statistics of the latest one, also of one that was stopped."""

    def __init__(self, url: str, model: str | None, api_key: str | None) -> None:
        """Ask the server what it serves. Raises ``LlmrtError`` if it is not there, or has no such model."""
        self.url = f"{server_root(url)}/v1"
        self.last: Statistics | None = None
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx2.Client(base_url=self.url, headers=headers, timeout=TIMEOUT)
        served = self._served()
        self.model = model or next(iter(served), None)
        if self.model is None:
            raise ModelNotFoundError(
                f"{self.url} does not say which models it serves; name one: llmrt chat MODEL --url"
            )
        if served and self.model not in served:
            raise ModelNotFoundError(f"{self.url} serves no model {self.model}; it serves {', '.join(served)}.")
        self._context_length = context_length(served.get(self.model, {}))

    @property
    def context_length(self) -> int | None:
        """The most tokens that a conversation and its next answer can have together, None where it is not known."""
        return self._context_length

    @property
    def vocab_size(self) -> int:
        """The server knows which tokens there are."""
        return ANY_TOKEN

    def answer(self, messages: Sequence[Mapping[str, object]], params: SamplingParams) -> Generator[str]:
        """The answer as it comes. Closing the generator, or Ctrl+C, closes the connection, which stops the server.

        Raises ``LlmrtError`` for what the server refuses and for a connection that breaks.
        """
        body = {
            "model": self.model,
            "messages": [_without_thoughts(message) for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            **_sampling_fields(params),
        }
        record = _Record()
        try:
            with self._explained(), self._client.stream("POST", "chat/completions", json=body) as response:
                self._check(response)
                for chunk in _chunks(response):
                    if text := record.advance(chunk):
                        yield text
            if record.finish_reason is None:
                raise LlmrtError(f"{self.url} ended the answer in its midst.")
        finally:
            self.last = record.statistics()

    def _served(self) -> dict[str, dict[str, Any]]:
        """What the server lists, by name; nothing where it has no list."""
        with self._explained():
            response = self._client.get("models")
            if response.status_code == 404:
                return {}
            self._check(response)
            return {entry["id"]: entry for entry in response.json()["data"]}

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            with connection_errors(self.url):
                yield
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ConfigError(
                f"{self.url} does not answer as an OpenAI-compatible server does ({error}); check --url"
            ) from error

    def _check(self, response: httpx2.Response) -> None:
        if response.status_code == 401:
            raise unknown_key(self.url)
        if response.status_code >= 400:
            response.read()
            raise LlmrtError(f"{self.url} answers {response.status_code}: {_message(response)}")


class _Record:
    """What was seen of an answer."""

    def __init__(self) -> None:
        self.finish_reason: EndReason | None = None
        self._start = time.perf_counter()
        self._times: list[float] = []
        self._usage: dict[str, Any] = {}
        self._is_thinking = False

    def advance(self, chunk: dict[str, Any]) -> str:
        """The text of a chunk. Raises ``LlmrtError`` for one that is an error."""
        if error := chunk.get("error"):
            raise LlmrtError(str(error.get("message", error)) if isinstance(error, dict) else str(error))
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk["choices"]:
            if (reason := choice.get("finish_reason")) is not None:
                self.finish_reason = _FINISHED.get(reason, "stop")
            if text := self._shown(choice.get("delta") or {}):
                self._times.append(time.perf_counter())
                return text
        return ""

    def _shown(self, delta: dict[str, Any]) -> str:
        """Thoughts, which have two names, stand between marks before the content."""
        thought, content = delta.get("reasoning_content") or delta.get("reasoning") or "", delta.get("content") or ""
        begins = thought and not self._is_thinking
        ends = content and (self._is_thinking or thought)
        self._is_thinking = bool(thought or self._is_thinking) and not content
        return f"{_THINK if begins else ''}{thought}{_THOUGHT if ends else ''}{content}"

    def statistics(self) -> Statistics:
        """A server that reports no usage is taken to send a token at a time."""
        times, details = self._times, self._usage.get("prompt_tokens_details") or {}
        count = self._usage.get("completion_tokens", len(times))
        spent = times[-1] - times[0] if times else 0.0
        return Statistics(
            num_prompt_tokens=self._usage.get("prompt_tokens", 0),
            num_cached_tokens=details.get("cached_tokens") or 0,
            num_output_tokens=count,
            time_to_first_token=times[0] - self._start if times else None,
            decode_rate=(count - 1) / spent if spent > 0 else None,
            finish_reason=self.finish_reason or "abort",
            stop=None,
        )


def _without_thoughts(message: Mapping[str, object]) -> Mapping[str, object]:
    """What was thought is shown, but is no part of what was said."""
    if message["role"] != "assistant":
        return message
    return {**message, "content": _THOUGHTS.sub("", str(message["content"]))}


def _sampling_fields(params: SamplingParams) -> dict[str, Any]:
    neutral = SamplingParams()
    changed = {name: getattr(params, name) for name in _OTHERS if getattr(params, name) != getattr(neutral, name)}
    return {**{name: getattr(params, name) for name in _KNOWN}, **changed}


def _chunks(response: httpx2.Response) -> Iterator[dict[str, Any]]:
    """The JSON of each event; one line each, as every server of this kind sends them."""
    for line in response.iter_lines():
        if line.startswith("data:"):
            data = line.removeprefix("data:").strip()
            if data == "[DONE]":
                return
            yield json.loads(data)


def _message(response: httpx2.Response) -> str:
    try:
        error = response.json()["error"]
        return error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        return " ".join(response.text.split())[:200] or response.reason_phrase
