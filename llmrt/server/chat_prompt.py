"""From the messages of a chat request to the text of a prompt, by the model's template, and to its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmrt.errors import RequestError
from llmrt.server.schemas import ChatBody
from llmrt.server.served_model import ServedModel
from llmrt.server.tool_use import ToolUse, tool_use
from llmrt.text.chat_format import ChatFormat
from llmrt.text.messages import Message
from llmrt.text.tool_formats.tool_grammar import Thoughts

# Stands for the text that an answer continues, while the template is rendered around it.
_PLACEHOLDER = "\ue000continue\ue000"
_RESERVED = ("messages", "tools", "add_generation_prompt", "self")


@dataclass(frozen=True)
class ChatPrompt:
    """A conversation as the model reads it.

    ``continues``: the answer goes on in the middle of a message, so its first space is part of it.
    ``thoughts`` are those that the answer may begin with.
    """

    text: str
    continues: bool
    thoughts: Thoughts | None


def prompt_token_ids(model: ServedModel, body: ChatBody) -> list[int]:
    """The prompt of a chat request in tokens. Raises as ``render_prompt`` and ``encode_prompt``."""
    return encode_prompt(model, body, render_prompt(model, body, tool_use(body)))


def encode_prompt(model: ServedModel, body: ChatBody, prompt: ChatPrompt) -> list[int]:
    """The tokens of ``prompt``; may take milliseconds. Raises ``RequestError`` where there are none."""
    token_ids = model.tokenizer.encode(prompt.text, add_special_tokens=bool(body.add_special_tokens))
    if not token_ids:
        raise RequestError("The messages render to no tokens.", param="messages")
    return token_ids


def render_prompt(model: ServedModel, body: ChatBody, tools: ToolUse | None) -> ChatPrompt:
    """Render the messages of ``body``, with the ``tools`` that may be called.

    Raises ``RequestError`` for messages that cannot be rendered and ``TemplateError`` for those that the
    template refuses.
    """
    chat = model.chat
    if chat is None:
        raise RequestError(f"The model {model.id!r} has no chat template; use /v1/completions.", param="messages")
    variables = _variables(chat, body)
    continues = _continues(body)
    shown = [] if tools is None else tools.shown
    history = chat.history(body.messages, shown)
    begins = body.add_generation_prompt is not False
    text = (
        _render_continued(chat, history, shown, variables)
        if continues
        else chat.render(history, shown, add_generation_prompt=begins, **variables)
    )
    return ChatPrompt(text, continues, _thoughts(chat, text, history[-1]["content"] if continues else ""))


def _variables(chat: ChatFormat, body: ChatBody) -> dict[str, Any]:
    """What the request sets in the template; ``RequestError`` for what it must not set."""
    variables = dict(body.chat_template_kwargs or {})
    if reserved := [name for name in _RESERVED if name in variables]:
        raise RequestError(f"chat_template_kwargs must not set {reserved[0]}.", param="chat_template_kwargs")
    return _effort(chat, body.reasoning_effort) | variables


def unknown_variables(model: ServedModel, body: ChatBody) -> list[str]:
    """The fields with which the template does nothing."""
    chat = model.chat
    assert chat is not None
    names = [f"chat_template_kwargs.{name}" for name in body.chat_template_kwargs or {} if not _knows(chat, name)]
    unused = body.reasoning_effort is not None and not _effort(chat, body.reasoning_effort)
    return [*names, "reasoning_effort"] if unused else names


def _effort(chat: ChatFormat, effort: str | None) -> dict[str, Any]:
    """Templates know degrees of thinking, or a switch, or neither."""
    if effort is None:
        return {}
    if _knows(chat, "reasoning_effort"):
        return {"reasoning_effort": effort}
    return {"enable_thinking": effort != "none"} if chat.has_thinking_switch else {}


def _knows(chat: ChatFormat, name: str) -> bool:
    return name in chat.template.variables


def _thoughts(chat: ChatFormat, prompt: str, continued: str) -> Thoughts | None:
    """The thoughts that an answer may begin with, where it goes on with the text ``continued`` at the prompt's end."""
    reasoning = chat.reasoning
    if reasoning is None:
        return None
    begun = continued.rfind(reasoning.begin) > continued.rfind(reasoning.end)
    end = prompt.rstrip()
    if begun or end.endswith(reasoning.begin):
        return Thoughts(reasoning=reasoning, begun=True)
    if end.endswith(reasoning.end) or continued.strip():
        return None  # they are over
    return Thoughts(reasoning=reasoning, begun=False)


def _continues(body: ChatBody) -> bool:
    *before, last = [message.get("role") == "assistant" for message in body.messages]
    if last and before and before[-1]:
        raise RequestError(
            "The last two messages are both the assistant's; only one can be continued.", param="messages"
        )
    if body.continue_final_message and not last:
        raise RequestError(
            "continue_final_message needs a last message with the role 'assistant'.",
            param="continue_final_message",
        )
    if body.continue_final_message and body.add_generation_prompt:
        raise RequestError(
            "add_generation_prompt begins a new message, and continue_final_message goes on with the last; send one.",
            param="add_generation_prompt",
        )
    if last and body.messages[-1].get("tool_calls"):
        raise RequestError("The last message calls tools; the tools' answers must follow it.", param="messages")
    if body.continue_final_message is None:
        return last and body.add_generation_prompt is None
    return body.continue_final_message


def _render_continued(
    chat: ChatFormat, history: Sequence[Message], tools: Sequence[Mapping[str, object]], variables: Mapping[str, Any]
) -> str:
    """The prompt up to the end of the last message's text, without what the template puts after it."""
    *before, last = history
    marked = [*before, {**last, "content": _PLACEHOLDER}]
    text = chat.render(marked, tools, add_generation_prompt=False, **variables)
    head, found, _ = text.rpartition(_PLACEHOLDER)
    if not found:
        raise RequestError(
            "The chat template does not show the last message as it is, so it cannot be continued.",
            param="messages",
        )
    return head + last["content"]
