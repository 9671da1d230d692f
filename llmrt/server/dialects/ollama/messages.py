"""Ollama's messages as those of a chat request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from llmrt.errors import RequestError
from llmrt.text.messages import Message


def chat_messages(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The conversation. Calls without an id get one, and so do their results, in the order of the calls.

    Raises ``RequestError`` that names what cannot be read.
    """
    new_ids = (f"call_{number}" for number in count())
    unanswered: list[str] = []
    return [_message(message, f"messages[{i}]", new_ids, unanswered) for i, message in enumerate(messages)]


def _message(message: Mapping[str, Any], where: str, new_ids: Iterator[str], unanswered: list[str]) -> Message:
    if message.get("images"):
        raise RequestError(f"{where}.images cannot be read: this model reads text only.", param=f"{where}.images")
    read = {name: message[name] for name in ("role", "content") if name in message}
    if message.get("thinking"):
        read["reasoning_content"] = message["thinking"]
    if message.get("tool_calls"):
        read["tool_calls"] = _calls(message["tool_calls"], f"{where}.tool_calls", new_ids)
        unanswered[:] = [call["id"] for call in read["tool_calls"]]
    if message.get("role") == "tool":
        read["tool_call_id"] = message.get("tool_call_id") or (unanswered.pop(0) if unanswered else next(new_ids))
    return read


def _calls(calls: object, where: str, new_ids: Iterator[str]) -> list[Message]:
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise RequestError(f"{where} must be a list of calls.", param=where)
    return [{"type": "function", **call, "id": call.get("id") or next(new_ids)} for call in calls]
