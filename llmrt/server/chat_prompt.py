"""Chat messages to a prompt's text, and that to tokens, by the model's template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmrt.errors import RequestError
from llmrt.server.schemas import ChatBody
from llmrt.server.state import ServedModel
from llmrt.text.chat_template import ChatTemplate
from llmrt.text.messages import normalize_messages

Message = Mapping[str, object]

# Stands for the text that an answer continues, while the template is rendered around it.
_PLACEHOLDER = "\ue000continue\ue000"
_RESERVED = ("messages", "tools", "add_generation_prompt", "self")


@dataclass(frozen=True)
class ChatText:
    """``continues``: the answer goes on in the middle of a message, so its first space is part of it."""

    text: str
    continues: bool


@dataclass(frozen=True)
class ChatPrompt:
    """The same in tokens."""

    token_ids: list[int]
    continues: bool


def chat_prompt(model: ServedModel, body: ChatBody) -> ChatPrompt:
    """Render and encode the messages of ``body``; may take milliseconds for long ones. Raises as ``chat_text``."""
    prompt = chat_text(model, body)
    token_ids = model.tokenizer.encode(prompt.text, add_special_tokens=bool(body.add_special_tokens))
    if not token_ids:
        raise RequestError("The messages render to no tokens.", param="messages")
    return ChatPrompt(token_ids, prompt.continues)


def chat_text(model: ServedModel, body: ChatBody) -> ChatText:
    """Render the messages of ``body``.

    Raises ``RequestError`` for messages that cannot be rendered and ``TemplateError`` for those that the
    template refuses.
    """
    if model.template is None:
        raise RequestError(f"The model {model.id!r} has no chat template; use /v1/completions.", param="messages")
    variables = dict(body.chat_template_kwargs or {})
    if reserved := [name for name in _RESERVED if name in variables]:
        raise RequestError(f"chat_template_kwargs must not set {reserved[0]}.", param="chat_template_kwargs")
    continues = _continues(body)
    messages = _merge_system(normalize_messages(body.messages))
    if continues:
        text = _render_continued(model.template, messages, variables)
    else:
        text = model.template.render(messages, **variables)
    return ChatText(text, continues)


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
    if last and body.messages[-1].get("tool_calls"):
        raise RequestError("The last message calls tools; the tools' answers must follow it.", param="messages")
    return last and body.continue_final_message is not False


def _merge_system(messages: list[dict[str, object]]) -> list[dict[str, object]]:
    """Put the texts of all system messages into the first: many templates accept only one."""
    texts = [str(message["content"]) for message in messages if message["role"] == "system"]
    if len(texts) < 2:
        return messages
    first = next(i for i, message in enumerate(messages) if message["role"] == "system")
    merged = {**messages[first], "content": "\n\n".join(texts)}
    others = [message for message in messages[first + 1 :] if message["role"] != "system"]
    return [*messages[:first], merged, *others]


def _render_continued(template: ChatTemplate, messages: Sequence[Message], variables: Mapping[str, Any]) -> str:
    """The prompt up to the end of the last message's text, without what the template puts after it."""
    *before, last = messages
    marked = [*before, {**last, "content": _PLACEHOLDER}]
    head, found, _ = template.render(marked, add_generation_prompt=False, **variables).rpartition(_PLACEHOLDER)
    if not found:
        raise RequestError(
            "The chat template does not show the last message as it is, so it cannot be continued.",
            param="messages",
        )
    return head + str(last["content"])
