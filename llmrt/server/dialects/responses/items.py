"""The input items of a response as the messages of a chat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmrt.errors import RequestError
from llmrt.text.messages import Message

_Item = Mapping[str, Any]
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}  # and where their text is


def chat_messages(instructions: str | None, items: str | Sequence[_Item]) -> list[Message]:
    """The conversation. Raises ``RequestError`` that names the item or the part that cannot be read."""
    conversation = _Conversation()
    if instructions:
        conversation.add({"role": "system", "content": instructions})
    if isinstance(items, str):
        conversation.add({"role": "user", "content": items})
        return conversation.messages
    for index, item in enumerate(items):
        where = f"input[{index}]"
        kind = item.get("type", "message")
        if not isinstance(kind, str) or kind not in _READERS:
            read = ", ".join(_READERS)
            raise RequestError(f"{where}.type is {kind!r}; this server reads {read}.", param=f"{where}.type")
        _READERS[kind](conversation, item, where)
    if not conversation.messages:
        raise RequestError("input says nothing: its items are empty thoughts.", param="input")
    return conversation.messages


class _Conversation:
    """Thoughts, a text and calls that follow each other are one message of the assistant."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def add(self, message: Message) -> None:
        self.messages.append(message)

    def assistant(self, *, without: Sequence[str]) -> Message:
        """The last message, or a new one if that is not the assistant's or has one of the fields ``without``."""
        last = self.messages[-1] if self.messages else {}
        if last.get("role") != "assistant" or any(last.get(name) for name in without):
            last = {"role": "assistant", "content": ""}
            self.messages.append(last)
        return last


def _message(conversation: _Conversation, item: _Item, where: str) -> None:
    role = item.get("role")
    text = _text(item.get("content"), f"{where}.content")
    match role:
        case "assistant":
            conversation.assistant(without=("content", "tool_calls"))["content"] = text
        case "user" | "system" | "developer":
            conversation.add({"role": role, "content": text})
        case _:
            raise RequestError(
                f"{where}.role is {role!r}; it must be 'user', 'assistant', 'system' or 'developer'.",
                param=f"{where}.role",
            )


def _reasoning(conversation: _Conversation, item: _Item, where: str) -> None:
    """What it was, or else its summary."""
    parts = item.get("content") or item.get("summary") or []
    if not isinstance(parts, list):
        raise RequestError(f"{where}.content must be a list of parts.", param=f"{where}.content")
    texts = [_string(part, "text", f"{where}.content[{index}]") for index, part in enumerate(parts)]
    if texts:
        conversation.assistant(without=("content", "tool_calls", "reasoning_content"))["reasoning_content"] = "\n".join(
            texts
        )


def _call(conversation: _Conversation, item: _Item, where: str) -> None:
    function = {name: _string(item, name, where) for name in ("name", "arguments")}
    call = {"id": _string(item, "call_id", where), "type": "function", "function": function}
    conversation.assistant(without=()).setdefault("tool_calls", []).append(call)


def _result(conversation: _Conversation, item: _Item, where: str) -> None:
    call_id = _string(item, "call_id", where)
    text = _text(item.get("output"), f"{where}.output")
    conversation.add({"role": "tool", "tool_call_id": call_id, "content": text})


def _text(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RequestError(f"{where} must be a string or a list of parts.", param=where)
    return "\n".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: object, where: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(kind, str) or kind not in _TEXTS:
        raise RequestError(f"{where} has the type {kind!r}; this model reads text only.", param=where)
    return _string(part, _TEXTS[kind], where)


def _string(item: object, name: str, where: str) -> str:
    value = item.get(name) if isinstance(item, Mapping) else None
    if not isinstance(value, str):
        raise RequestError(f"{where}.{name} must be a string.", param=f"{where}.{name}")
    return value


_READERS: Mapping[str, Callable[[_Conversation, _Item, str], None]] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _call,
    "function_call_output": _result,
}
