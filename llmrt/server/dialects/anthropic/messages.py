"""Anthropic's messages as those of a chat request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from llmrt.errors import RequestError
from llmrt.server.dialects.anthropic.body import MessageParam
from llmrt.text.messages import Message

_Content = str | Sequence[Mapping[str, Any]]
_Located = tuple[str, Mapping[str, Any]]  # where a block stands, and the block


def chat_messages(system: _Content | None, messages: Sequence[MessageParam]) -> list[Message]:
    """The conversation, in which neighbours with the same role are one message.

    Raises ``RequestError`` that names the block that cannot be read.
    """
    chat: list[Message] = [] if not system else [{"role": "system", "content": _texts(system, "system")}]
    located = [(message.role, _blocks(message.content, f"messages[{i}].content")) for i, message in enumerate(messages)]
    for role, group in groupby(located, key=lambda message: message[0]):
        blocks = [block for _, some in group for block in some]
        chat += _READERS[role](blocks)
    return chat


def _blocks(content: _Content, where: str) -> list[_Located]:
    if isinstance(content, str):
        return [(where, {"type": "text", "text": content})]
    return [(f"{where}[{index}]", block) for index, block in enumerate(content)]


def _system(blocks: Sequence[_Located]) -> Iterator[Message]:
    yield {"role": "system", "content": "\n".join(_text(*block) for block in blocks)}


def _user(blocks: Sequence[_Located]) -> Iterator[Message]:
    """Results of tools are messages of their own, in their place between the texts."""
    for is_result, group in groupby(blocks, key=lambda block: block[1].get("type") == "tool_result"):
        if is_result:
            yield from (_result(*block) for block in group)
        else:
            yield {"role": "user", "content": "\n".join(_text(*block) for block in group)}


def _result(where: str, block: Mapping[str, Any]) -> Message:
    content = block.get("content")
    text = "" if content is None else _texts(content, f"{where}.content")
    return {
        "role": "tool",
        "tool_call_id": _string(block, "tool_use_id", where),
        "content": f"Error: {text}" if block.get("is_error") is True else text,
    }


def _assistant(blocks: Sequence[_Located]) -> Iterator[Message]:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Message] = []
    for where, block in blocks:
        match block.get("type"):
            case "thinking":
                thoughts.append(_string(block, "thinking", where))
            case "tool_use":
                calls.append(_call(where, block))
            case _:
                texts.append(_text(where, block))
    message: Message = {"role": "assistant", "content": "\n".join(texts)}
    message |= {"reasoning_content": "\n".join(thoughts)} if thoughts else {}
    yield message | ({"tool_calls": calls} if calls else {})


def _call(where: str, block: Mapping[str, Any]) -> Message:
    arguments = block.get("input")
    if not isinstance(arguments, dict):
        raise RequestError(f"{where}.input must be an object.", param=f"{where}.input")
    function = {"name": _string(block, "name", where), "arguments": arguments}
    return {"type": "function", "id": _string(block, "id", where), "function": function}


def _texts(content: object, where: str) -> str:
    """The text of what holds nothing but text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(block, Mapping) for block in content):
        raise RequestError(f"{where} must be a string or a list of blocks.", param=where)
    return "\n".join(_text(*block) for block in _blocks(content, where))


def _text(where: str, block: Mapping[str, Any]) -> str:
    kind = block.get("type")
    if kind != "text":
        raise RequestError(
            f"{where} has the type {kind!r}, which cannot be read here; this server reads text, thinking, tool_use and"
            " tool_result, each in its place.",
            param=where,
        )
    return _string(block, "text", where)


def _string(block: Mapping[str, Any], name: str, where: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise RequestError(f"{where}.{name} must be a string.", param=f"{where}.{name}")
    return value


_READERS = {"system": _system, "user": _user, "assistant": _assistant}
