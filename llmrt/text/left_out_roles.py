"""Which roles a chat template leaves out of its prompts without a word."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

from llmrt.errors import TemplateError
from llmrt.text.chat_template import ChatTemplate
from llmrt.text.messages import Message

_MARK = "qzjxvkw"  # letters, which filters leave as they are but for their case
_USER: Message = {"role": "user", "content": "Hello"}
_ASSISTANT: Message = {"role": "assistant", "content": "Hello"}


@lru_cache(maxsize=1024)
def leaves_out(template: ChatTemplate, role: str) -> bool:
    """Whether no message of ``role`` is shown, wherever it stands; a template that refuses it says a word.

    Conversations are made up to see it: in that of a request its text may be among the user's, or changed.
    """
    told: Message = {"role": role, "content": _MARK}
    prompts = list[str]()
    for messages in ([told, _USER], [_USER, told, _USER], [_USER, _ASSISTANT, told]):
        with suppress(TemplateError):
            prompts.append(template.render(messages))
    return bool(prompts) and not any(_MARK in prompt.lower() for prompt in prompts)


def marked(messages: Sequence[Message], index: int) -> list[Message]:
    """``messages`` with another content at ``index``: a prompt that stays the same does not show it."""
    return [*messages[:index], {**messages[index], "content": _MARK}, *messages[index + 1 :]]
