"""What a model thinks before it answers, set apart from the answer."""

from __future__ import annotations

from dataclasses import dataclass

from llmrt.text.answer_parts import Parse, Reasoning, Source, taken_prefix, text_until


@dataclass(frozen=True)
class ReasoningFormat:
    """The marks around the thoughts."""

    begin: str
    end: str

    def parse(self, source: Source, *, begun: bool) -> Parse[None]:
        """The thoughts at the start of an answer, if it has any. ``begun``: the prompt has their first mark."""
        if begun or (yield from taken_prefix(source, self.begin)):
            source.skip_space()
            yield from text_until(source, [self.end], Reasoning)
            source.skip_space()


_FORMATS = (ReasoningFormat("<think>", "</think>"), ReasoningFormat("[THINK]", "[/THINK]"))


def find_reasoning_format(template: str) -> ReasoningFormat | None:
    """The format that the source of a chat template speaks of."""
    return next((known for known in _FORMATS if known.end in template), None)
