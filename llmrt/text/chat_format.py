"""What a model's template can show, what it leaves to us, and how the model writes calls and thoughts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any

from llmrt.errors import RequestError, TemplateError
from llmrt.text.chat_template import ChatTemplate
from llmrt.text.history import (
    arguments_as_text,
    calls_as_text,
    merge_system,
    read_history,
    results_as_user,
)
from llmrt.text.left_out_roles import leaves_out, marked
from llmrt.text.messages import Message, normalize_messages
from llmrt.text.reasoning import ReasoningFormat, find_reasoning_format
from llmrt.text.tokenizer import Tokenizer
from llmrt.text.tool_formats.hermes import HermesFormat, instructions
from llmrt.text.tool_formats.registry import find_tool_format
from llmrt.text.tool_formats.tool_format import ToolFormat

_ROLES = ("system", "developer", "user", "assistant", "tool")
_MOST_DOUBTS = 16  # roles of a request that are tried out, a millisecond each
_LONGEST_MISSPELT = 12  # letters; three more than any has
_LOWER = re.compile(r"\blower\b")  # the filter and the method
_TOOL_ROLE = re.compile(r"""['"]tool['"]""")


@dataclass(frozen=True, kw_only=True)
class ChatFormat:
    """``shows_tools``: the template renders tools and calls itself. ``shows_results``: it has the role of results.

    What it does not show is put into words for it, in Hermes' form.
    """

    template: ChatTemplate
    tools: ToolFormat
    shows_tools: bool
    shows_results: bool
    reasoning: ReasoningFormat | None

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts around calls and thoughts."""
        return self.tools.marks + (() if self.reasoning is None else (self.reasoning.begin, self.reasoning.end))

    @property
    def has_thinking_switch(self) -> bool:
        """Whether ``enable_thinking`` says if the model thinks first."""
        return "enable_thinking" in self.template.variables

    def history(
        self, messages: Sequence[Mapping[str, object]], tools: Sequence[Mapping[str, object]] = ()
    ) -> list[Message]:
        """``messages`` as ``render`` takes them. ``RequestError`` names what cannot be rendered."""
        knows_developer = self.template.knows_developer and not leaves_out(self.template, "developer")
        read = read_history(normalize_messages(messages, keep_developer=knows_developer))
        self._check_roles(read)
        shown = self.tools.history(read)
        if not self.shows_tools:
            shown = calls_as_text(shown)
        if not self.shows_results:
            shown = results_as_user(shown)
        return merge_system(shown, "" if self.shows_tools or not tools else instructions(tools))

    def _check_roles(self, messages: Sequence[Message]) -> None:
        """Refuse a misspelt role: many templates write any word in its place, which the model never saw."""
        for index, role in enumerate(message["role"] for message in messages):
            if (meant := self._misspelt(role)) is not None:
                where = f"messages[{index}].role"
                raise RequestError(f"{where} is {role!r}; did you mean {meant!r}?", param=where)

    def _misspelt(self, role: str) -> str | None:
        """The role that is meant by a word close to it; others may be what the model was trained on, such as names."""
        if not role.isalpha() or len(role) > _LONGEST_MISSPELT or self._knows(role):
            return None
        return next(iter(get_close_matches(role.lower(), _ROLES, n=1, cutoff=0.8)), None)

    def _knows(self, role: str) -> bool:
        """Whether ``role`` is one of ours, or one that the template names."""
        if role in _ROLES:
            return True
        source = self.template.source
        spelt = role.lower() if _LOWER.search(source) else role
        return spelt in _ROLES or f"'{spelt}'" in source or f'"{spelt}"' in source

    def render(self, history: Sequence[Message], tools: Sequence[Mapping[str, object]] = (), **variables: Any) -> str:
        """The prompt. Raises as ``ChatTemplate.render``, and ``RequestError`` for a message that would be left out."""
        prompt = self._rendered(history, tools, variables)
        self._check_shown(history, tools)
        late = next((i for i, message in enumerate(history) if message["role"] == "system"), 0)
        if late and history[late]["content"].strip():
            with suppress(TemplateError):
                if self._rendered(marked(history, late), tools, variables) == prompt:
                    raise RequestError(
                        "messages: this model's chat template leaves out a system message here; put it first.",
                        param="messages",
                    )
        return prompt

    def _check_shown(self, history: Sequence[Message], tools: Sequence[Mapping[str, object]]) -> None:
        roles = dict.fromkeys(message["role"] for message in history if message["content"].strip())
        doubtful = (role for role in roles if role == "system" or not self._knows(role))
        for role in islice(doubtful, _MOST_DOUBTS):
            if leaves_out(self.template, role):
                raise _left_out(role, described=role == "system" and bool(tools) and not self.shows_tools)

    def _rendered(
        self, history: Sequence[Message], tools: Sequence[Mapping[str, object]], variables: Mapping[str, Any]
    ) -> str:
        shown = tools if self.shows_tools and tools else None
        try:
            return self.template.render(history, tools=shown, **variables)
        except TemplateError:
            if any("tool_calls" in message for message in history):
                with suppress(TemplateError):  # some templates join the arguments to text
                    return self.template.render(arguments_as_text(history), tools=shown, **variables)
            raise


def _left_out(role: str, *, described: bool) -> RequestError:
    """``described``: the tools were, in the message that is left out."""
    if described:
        return RequestError(
            "tools: this model's chat template shows neither tools nor the role 'system', in which they would be"
            " described; describe them in a message of 'user'.",
            param="tools",
        )
    return RequestError(
        f"messages: this model's chat template leaves out what has the role {role!r}; put it into a message of 'user'.",
        param="messages",
    )


def chat_format(template: ChatTemplate) -> ChatFormat:
    """Read from the template's source what it can do."""
    known = find_tool_format(template.source) if "tools" in template.variables else None
    shows_results = known is not None or (
        "tools" not in template.variables and _TOOL_ROLE.search(template.source) is not None
    )
    return ChatFormat(
        template=template,
        tools=known or HermesFormat(),
        shows_tools=known is not None,
        shows_results=shows_results,
        reasoning=find_reasoning_format(template.source),
    )


def special_marks(tokenizer: Tokenizer, marks: Iterable[str]) -> dict[str, int]:
    """Those of ``marks`` that are special tokens, with their ids."""
    found: dict[str, int] = {}
    for mark in marks:
        ids = [i for i in tokenizer.encode(mark, add_special_tokens=False) if tokenizer.is_special(i)]
        if len(ids) == 1 and tokenizer.token_bytes(ids[0]) == mark.encode("utf-8"):
            found[mark] = ids[0]
    return found
