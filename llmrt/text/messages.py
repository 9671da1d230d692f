"""Chat messages as clients send them, made into what chat templates expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmrt.errors import RequestError

# A message of a conversation, as templates see it.
Message = dict[str, Any]


def normalize_messages(messages: Sequence[Mapping[str, object]], *, keep_developer: bool = False) -> list[Message]:
    """A copy of ``messages`` in which every ``content`` is a string.

    The text parts of a content list are joined by newlines, the role "developer" is "system" unless it is kept, and an
    assistant's message without content (one that calls tools) has the empty string. Raises ``RequestError``
    that names the message for a role or content that cannot be rendered.
    """
    normal = [_normalize(message, f"messages[{index}]") for index, message in enumerate(messages)]
    return normal if keep_developer else [_without_developer(message) for message in normal]


def _without_developer(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, "role": "system"} if message["role"] == "developer" else message


def _normalize(message: Mapping[str, object], where: str) -> dict[str, Any]:
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise RequestError(f"{where}.role must be a string such as 'user'.", param=f"{where}.role")
    content = message.get("content")
    if content is None and role != "assistant":
        raise RequestError(f"{where}.content is missing.", param=f"{where}.content")
    return {**message, "content": _text(content, f"{where}.content")}


def _text(content: object, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise RequestError(f"{where} must be a string or a list of parts.", param=where)
    return "\n".join(_part_text(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part_text(part: object, where: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind != "text":
        raise RequestError(f"{where} has the type {kind!r}; this model reads parts of type 'text' only.", param=where)
    text = part.get("text") if isinstance(part, Mapping) else None
    if not isinstance(text, str):
        raise RequestError(f"{where}.text must be a string.", param=f"{where}.text")
    return text
