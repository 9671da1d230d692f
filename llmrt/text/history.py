"""Conversations with calls, thoughts and results in them, made into what a template can show."""

from __future__ import annotations

import json
from collections.abc import Sequence

from llmrt.errors import RequestError
from llmrt.text.json_text import parse_json
from llmrt.text.messages import Message
from llmrt.text.tool_formats.hermes import written_call, written_result


def read_history(messages: Sequence[Message]) -> list[Message]:
    """Calls with their arguments as objects, thoughts under both of their names, and no empty list of calls.

    ``messages`` are normalized. Raises ``RequestError`` that names what is no call.
    """
    return [_read(message, f"messages[{index}]") for index, message in enumerate(messages)]


def calls_as_text(messages: Sequence[Message]) -> list[Message]:
    """For templates without calls: each call as the model would have written it, behind the message's text."""
    return [_with_written_calls(message) if "tool_calls" in message else message for message in messages]


def results_as_user(messages: Sequence[Message]) -> list[Message]:
    """For templates without results: neighbouring results are one message of the user."""
    merged: list[Message] = []
    after_result = False
    for message in messages:
        is_result = message["role"] == "tool"
        text = written_result(message["content"]) if is_result else ""
        if is_result and after_result:
            merged[-1] = {"role": "user", "content": f"{merged[-1]['content']}\n{text}"}
        else:
            merged.append({"role": "user", "content": text} if is_result else message)
        after_result = is_result
    return merged


def arguments_as_text(messages: Sequence[Message]) -> list[Message]:
    """For templates that join arguments to text: JSON instead of objects."""

    def as_text(call: Message) -> Message:
        function = call["function"]
        return {**call, "function": {**function, "arguments": _json(function["arguments"])}}

    return [
        {**message, "tool_calls": [as_text(call) for call in message["tool_calls"]]}
        if "tool_calls" in message
        else message
        for message in messages
    ]


def merge_system(messages: Sequence[Message], extra: str = "") -> list[Message]:
    """Put the texts of all system messages and ``extra`` into the first: many templates accept only one."""
    texts = [message["content"] for message in messages if message["role"] == "system"]
    if extra:
        texts.append(extra)
    if len(texts) < 2 and not extra:
        return list(messages)
    where = next((i for i, message in enumerate(messages) if message["role"] == "system"), 0)
    merged = {"role": "system", "content": "\n\n".join(texts)}
    others = [message for message in messages[where:] if message["role"] != "system"]
    return [*messages[:where], merged, *others]


def _read(message: Message, where: str) -> Message:
    if message["role"] == "function" or message.get("function_call") is not None:
        raise RequestError(f"{where} has the old form of calls; send tool_calls and the role 'tool'.", param=where)
    read = {name: value for name, value in message.items() if name not in ("tool_calls", "function_call")}
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(thoughts, str):
        read |= {"reasoning_content": thoughts, "reasoning": thoughts}
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise RequestError(f"{where}.tool_calls must be a list.", param=f"{where}.tool_calls")
    if calls:
        read["tool_calls"] = [_read_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]
    return read


def _read_call(call: object, where: str) -> Message:
    match call:
        case {"function": {"name": str(name), **function}, **rest}:
            arguments = _object(function.get("arguments"))
            return {"type": "function", **rest, "function": {**function, "name": name, "arguments": arguments}}
        case _:
            raise RequestError(f"{where}.function.name must be a string.", param=f"{where}.function.name")


def _object(arguments: object) -> object:
    """Arguments come as JSON; what a model wrote and is not JSON stays as it is."""
    if arguments is None or arguments == "":
        return {}
    if not isinstance(arguments, str):
        return arguments
    try:
        value = parse_json(arguments)
    except ValueError:
        return arguments
    return value if isinstance(value, dict) else arguments


def _with_written_calls(message: Message) -> Message:
    calls = [written_call(call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]]
    texts = [message["content"], *calls] if message["content"] else calls
    return {"role": message["role"], "content": "\n".join(texts)}


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
