"""How the text of an answer divides into thoughts, content and calls of tools."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from llmrt.text.answer_parts import AnswerParser, Parse, Source, text_until
from llmrt.text.reasoning import ReasoningFormat
from llmrt.text.tool_formats.tool_format import ToolFormat


@dataclass(frozen=True, kw_only=True)
class AnswerFormat:
    """Without ``reasoning`` and ``tools``, all of an answer is content.

    ``reasoning_begun``: the prompt ends within the thoughts. ``tool_names`` may be called; ``many`` of them in one
    answer, or one. ``visible`` are the special tokens that have to be seen in the text.
    """

    reasoning: ReasoningFormat | None = None
    reasoning_begun: bool = False
    tools: ToolFormat | None = None
    tool_names: Collection[str] = ()
    many: bool = True
    visible: frozenset[int] = frozenset()

    def parser(self) -> AnswerParser:
        """A parser for one answer."""
        return AnswerParser(self._parse)

    def _parse(self, source: Source) -> Parse[None]:
        if self.reasoning is not None:
            yield from self.reasoning.parse(source, begun=self.reasoning_begun)
        if self.tools is not None:
            yield from self.tools.parse(source, self.tool_names)
        yield from text_until(source, [])


PLAIN = AnswerFormat()
