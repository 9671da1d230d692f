"""From a body of ``/v1/messages`` to a chat request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmrt.errors import RequestError
from llmrt.server.dialects.anthropic.body import CountBody, MessagesBody, Thinking, Tool, ToolChoice
from llmrt.server.dialects.anthropic.messages import chat_messages
from llmrt.server.dialects.field_names import FieldNames
from llmrt.server.fields import as_body
from llmrt.server.schemas import ChatBody
from llmrt.server.served_model import ServedModel
from llmrt.text.chat_format import ChatFormat

NAMES = FieldNames(
    {
        r"tools\[(\d+)\]\.function\.parameters": r"tools[\1].input_schema",
        r"tools\.(\d+)\.function\.parameters": r"tools.\1.input_schema",
        r"^stop\b": "stop_sequences",
        r"response_format\b": "output_config.format",
        r"reasoning_effort\b": "output_config.effort",
    }
)


def chat_body(model: ServedModel, body: CountBody) -> ChatBody:
    """The chat request that asks for the same. Raises ``RequestError`` for what cannot be asked for."""
    fields: dict[str, Any] = {
        "model": body.model,
        "messages": chat_messages(body.system, body.messages),
        "tools": [_tool(tool) for tool in body.tools or []],
        **_tool_choice(body.tool_choice),
        **_output(body),
        "chat_template_kwargs": _thinking(model.chat, body),
    }
    if isinstance(body, MessagesBody):
        fields |= {
            "stream": body.stream,
            "max_tokens": body.max_tokens,
            "stop": body.stop_sequences,
            "temperature": body.temperature,
            "top_p": body.top_p,
            "top_k": body.top_k,
        }
    return as_body(ChatBody, fields)


def unused_fields(model: ServedModel, body: CountBody) -> Iterator[str]:
    """The fields that have no effect on the answer of this model."""
    asked = body.thinking
    if asked is None:
        return
    if not _can_follow(model.chat, asked):
        yield "thinking"
    elif asked.type == "enabled" and asked.budget_tokens is not None:
        yield "thinking.budget_tokens"
    if asked.display == "omitted":
        yield "thinking.display"


def _can_follow(chat: ChatFormat | None, asked: Thinking) -> bool:
    reasons = chat is not None and chat.reasoning is not None
    match asked.type:
        case "enabled" | "adaptive":
            return reasons
        case "disabled":
            return not reasons or _has_switch(chat)
        case "between_tools":
            return False


def _thinking(chat: ChatFormat | None, body: CountBody) -> dict[str, bool]:
    """Anthropic's models think when asked to, so ours do not else, where the template has a switch."""
    asked = "disabled" if body.thinking is None else body.thinking.type
    effort = body.output_config is not None and body.output_config.effort is not None
    if not _has_switch(chat) or (body.thinking is None and effort):
        return {}
    return {"enable_thinking": asked != "disabled"}


def _has_switch(chat: ChatFormat | None) -> bool:
    return chat is not None and chat.has_thinking_switch


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}
    return {"type": "function", "function": {**function, "strict": tool.strict}}


def _tool_choice(choice: ToolChoice | None) -> dict[str, Any]:
    if choice is None:
        return {}
    names: dict[str, object] = {"auto": "auto", "any": "required", "none": "none"}
    if choice.type == "tool":
        if choice.name is None:
            raise RequestError("tool_choice.name is required for the type 'tool'.", param="tool_choice.name")
        names["tool"] = {"type": "function", "function": {"name": choice.name}}
    return {"tool_choice": names[choice.type], "parallel_tool_calls": choice.disable_parallel_tool_use is not True}


def _output(body: CountBody) -> dict[str, Any]:
    config = body.output_config
    if config is None:
        return {}
    if config.format is not None and config.format.get("type") != "json_schema":
        raise RequestError("output_config.format.type must be 'json_schema'.", param="output_config.format")
    return {"response_format": config.format, "reasoning_effort": config.effort}
