"""What the rest of llmrt asks of a form of tool calls."""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence

from llmrt.text.answer_parts import Parse, Source
from llmrt.text.messages import Message

# How a mark is written in a Lark grammar: as a token of its own where it is one, else as its characters.
Spell = Callable[[str], str]


class ToolFormat(ABC):
    """``begin`` opens the calls in an answer; None where an answer that calls is calls from its first character.

    ``marks`` are all texts that may be special tokens of the vocabulary. ``separator`` stands between calls, and
    is None where an answer has only one mark, or one call.
    """

    begin: str | None
    marks: tuple[str, ...]
    separator: str | None

    @abstractmethod
    def parse(self, source: Source, names: Collection[str]) -> Parse[None]:
        """Divide an answer whose calls are of this form. ``names`` are the tools that there are."""

    @abstractmethod
    def block(self, spell: Spell, rules: Mapping[str, str], *, many: bool) -> str:
        """What follows ``begin``, as a Lark expression. ``rules`` maps each tool to the rule for its arguments."""

    def call_id(self) -> str:
        """A new name for a call, as OpenAI's."""
        return f"call_{secrets.token_hex(12)}"

    def history(self, messages: Sequence[Message]) -> list[Message]:
        """``messages`` with calls and results as the templates of this form take them."""
        return list(messages)


def call_head(name: str, arguments: str = "arguments") -> str:
    """How a call begins that is an object, up to its arguments under that name."""
    return f'{{"name": {json.dumps(name)}, "{arguments}": '


def literal(text: str) -> str:
    """``text`` as a string of a Lark grammar."""
    return json.dumps(text, ensure_ascii=False)


def any_of(expressions: Sequence[str]) -> str:
    """A Lark expression for one of ``expressions``."""
    return f"({' | '.join(expressions)})"
