"""From the deltas of a reply to Ollama's records: one, or several as the lines of a stream."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from llmrt.server.choice import Delta, ReportedToken
from llmrt.server.dialects.arguments import arguments_object
from llmrt.server.dialects.ollama.records import (
    AnswerRecord,
    ChatRecord,
    GenerateRecord,
    OllamaCall,
    OllamaFunction,
    OllamaMessage,
)
from llmrt.server.error_forms import ollama_error
from llmrt.server.errors import HttpError
from llmrt.server.framing import on_one_line
from llmrt.server.generation import Call, add_call, collect
from llmrt.server.logprobs import chat_logprobs
from llmrt.server.reply import Reply
from llmrt.server.responses import FinishReason


def now() -> str:
    """The time."""
    return time_text(datetime.now(UTC))


def time_text(time: datetime) -> str:
    """A time in Ollama's form."""
    return time.isoformat().replace("+00:00", "Z")


class OllamaAnswer(ABC):
    """One answer, as records and as their framing: each is a line."""

    media_type = "application/x-ndjson"
    end = b""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._began = time.perf_counter_ns()
        self._answers: int | None = None  # since then

    @abstractmethod
    def _record(self, text: str, thinking: str, calls: Sequence[Call], fields: dict[str, Any]) -> AnswerRecord: ...

    def record(self, record: AnswerRecord) -> bytes:
        """One line."""
        return _line(record)

    def idle(self) -> bytes:
        """A part without text: clients expect a record in each line."""
        return _line(self._part())

    def failure(self, error: HttpError) -> bytes:
        """The error, in a line."""
        return _line(ollama_error(error))

    async def whole(self) -> AnswerRecord:
        """Wait for the whole answer."""
        async with aclosing(self._deltas()) as deltas:
            (answer,) = await collect(deltas, 1)
        return self._record(
            answer.text,
            answer.reasoning,
            answer.calls,
            self._end(answer.finish_reason) | self._logprobs(answer.logprobs),
        )

    async def parts(self) -> AsyncGenerator[AnswerRecord, None]:
        """Texts as they come, all calls when they are whole, and the end."""
        calls: list[Call] = []
        reason: FinishReason | None = None
        async with aclosing(self._deltas()) as deltas:
            async for delta in deltas:
                for call in delta.calls:
                    add_call(calls, call)
                if delta.text or delta.reasoning:
                    yield self._part(delta.text, delta.reasoning, logprobs=delta.logprobs)
                reason = delta.finish_reason or reason
        if calls:
            yield self._part(calls=calls)
        assert reason is not None
        yield self._record("", "", (), self._end(reason))

    async def _deltas(self) -> AsyncGenerator[Delta, None]:
        async with aclosing(self._reply.deltas()) as deltas:
            async for delta in deltas:
                self._answers = self._answers or time.perf_counter_ns()
                yield delta

    def _part(
        self,
        text: str = "",
        thinking: str = "",
        *,
        calls: Sequence[Call] = (),
        logprobs: Sequence[ReportedToken] = (),
    ) -> AnswerRecord:
        common = {"model": self._reply.state.model.id, "created_at": now(), "done": False}
        return self._record(text, thinking, calls, common | self._logprobs(logprobs))

    def _end(self, reason: FinishReason) -> dict[str, Any]:
        """Calls end an answer as any stop does."""
        ended, usage = time.perf_counter_ns(), self._reply.count.usage
        answers = self._answers or ended
        return {
            "model": self._reply.state.model.id,
            "created_at": now(),
            "done": True,
            "done_reason": "length" if reason == "length" else "stop",
            "total_duration": ended - self._began,
            "load_duration": 0,
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": answers - self._began,
            "eval_count": usage.completion_tokens,
            "eval_duration": ended - answers,
        }

    def _logprobs(self, tokens: Sequence[ReportedToken]) -> dict[str, Any]:
        if self._reply.job.params.logprobs is None or not tokens:
            return {}
        return {"logprobs": chat_logprobs(self._reply.state.model.tokenizer, tokens).content}


class ChatAnswer(OllamaAnswer):
    """Of ``/api/chat``."""

    def _record(self, text: str, thinking: str, calls: Sequence[Call], fields: dict[str, Any]) -> AnswerRecord:
        shown = [
            OllamaCall(call.id, OllamaFunction(index, call.name, arguments_object(call.arguments)))
            for index, call in enumerate(calls)
        ]
        return ChatRecord(message=OllamaMessage(text, thinking or UNSET, shown or UNSET), **fields)


class GenerateAnswer(OllamaAnswer):
    """Of ``/api/generate``, which has no tools."""

    def _record(self, text: str, thinking: str, calls: Sequence[Call], fields: dict[str, Any]) -> AnswerRecord:
        return GenerateRecord(response=text, thinking=thinking or UNSET, **fields)


def _line(record: msgspec.Struct) -> bytes:
    return on_one_line(msgspec.json.encode(record)) + b"\n"
