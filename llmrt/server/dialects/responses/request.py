"""From a body of ``/v1/responses`` to a chat request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmrt.errors import RequestError
from llmrt.server.dialects.field_names import FieldNames
from llmrt.server.dialects.responses.body import FunctionTool, OtherTool, ResponsesBody
from llmrt.server.dialects.responses.items import chat_messages
from llmrt.server.fields import as_body
from llmrt.server.schemas import ChatBody

_LOGPROBS = "message.output_text.logprobs"
_NAMES = {
    r"max_tokens\b": "max_output_tokens",
    r"response_format\b": "text.format",
    r"reasoning_effort\b": "reasoning.effort",
    r"^messages$": "input",
}


def field_names(body: ResponsesBody) -> FieldNames:
    """What the body calls the fields of its chat request, whose tools are those of its tools that are functions."""
    places = [i for i, tool in enumerate(body.tools or []) if isinstance(tool, FunctionTool)]
    return FieldNames(
        {
            r"tools\[(\d+)\]\.function\b": lambda found: f"tools[{places[int(found[1])]}]",
            r"tools\.(\d+)\.function\b": lambda found: f"tools.{places[int(found[1])]}",
            **_NAMES,
        }
    )


def chat_body(body: ResponsesBody) -> ChatBody:
    """The chat request that asks for the same. Raises ``RequestError`` for what cannot be asked for."""
    logprobs = _LOGPROBS in (body.include or [])
    if body.top_logprobs and not logprobs:
        raise RequestError(f'top_logprobs needs include: ["{_LOGPROBS}"].', param="top_logprobs")
    return as_body(
        ChatBody,
        {
            "model": body.model,
            "messages": chat_messages(body.instructions, body.input),
            "stream": body.stream,
            "max_tokens": body.max_output_tokens,
            "temperature": body.temperature,
            "top_p": body.top_p,
            "frequency_penalty": body.frequency_penalty,
            "presence_penalty": body.presence_penalty,
            "logprobs": logprobs,
            "top_logprobs": body.top_logprobs if logprobs else None,
            "tools": [_tool(tool) for tool in body.tools or [] if isinstance(tool, FunctionTool)],
            "tool_choice": _tool_choice(body.tool_choice),
            "parallel_tool_calls": body.parallel_tool_calls,
            "response_format": None if body.text is None else body.text.format,
            "reasoning_effort": None if body.reasoning is None else body.reasoning.effort,
        },
    )


def unused_fields(body: ResponsesBody) -> Iterator[str]:
    """The fields that have no effect: nothing else can be included, encrypted or not, and no input is ever cut off."""
    if {*(body.include or [])} - {_LOGPROBS}:
        yield "include"
    if body.truncation == "auto":
        yield "truncation"
    yield from (f"tools.{i}" for i, tool in enumerate(body.tools or []) if isinstance(tool, OtherTool))


def _tool(tool: FunctionTool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": {**function, "strict": tool.strict}}


def _tool_choice(choice: str | Mapping[str, Any] | None) -> str | dict[str, Any] | None:
    """The names of functions stand one level deeper in a chat request."""
    match choice:
        case None | str():
            return choice
        case {"type": "function"}:
            return _function(choice)
        case {"type": "allowed_tools", "mode": mode, "tools": list(tools)}:
            return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [_function(t) for t in tools]}}
        case _:
            raise RequestError(
                "tool_choice must be 'none', 'auto', 'required', a function or allowed_tools.", param="tool_choice"
            )


def _function(choice: object) -> dict[str, Any]:
    match choice:
        case {"type": "function", "name": str(name)}:
            return {"type": "function", "function": {"name": name}}
        case _:
            raise RequestError("tool_choice must name functions.", param="tool_choice")
