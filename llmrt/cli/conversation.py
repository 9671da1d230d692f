"""A conversation: what was said, and the next answer to it. Free of torch."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import Protocol

from llmrt.cli.answer import Statistics
from llmrt.engine.request import SamplingParams


class ChatSession(Protocol):
    """What a conversation asks of a model in this process (``session.Session``) or of a server (``remote``)."""

    last: Statistics | None

    @property
    def context_length(self) -> int | None:
        """The most tokens that a conversation and its next answer can have together, None where that is not known."""
        ...

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""
        ...

    def answer(self, messages: Sequence[Mapping[str, object]], params: SamplingParams) -> Generator[str]:
        """What is said next in a conversation, as it comes."""
        ...


class Conversation:
    """``messages`` are the turns so far, the user's and the assistant's in alternation; ``system`` goes before them.

    ``verbose``: the person who talks wants to see the statistics of each answer.
    """

    def __init__(self, session: ChatSession, params: SamplingParams) -> None:
        self.session = session
        self.params = params
        self.system: str | None = None
        self.verbose = False
        self.messages: list[dict[str, str]] = []

    def ask(self, text: str) -> Generator[str]:
        """Say ``text``; yields the answer as it comes.

        The turn is kept once it is answered. Of an answer that is stopped (the generator closed, or Ctrl+C) the
        part that was given out stays; when there was none, or the turn cannot be served, the conversation is as
        before. Raises ``LlmrtError`` for a turn that the template refuses or that the context does not hold.
        """
        turn = {"role": "user", "content": text}
        pieces: list[str] = []
        answered = False
        stream = self.session.answer([*self._opening(), *self.messages, turn], self.params)
        try:
            with closing(stream):
                for piece in stream:
                    pieces.append(piece)
                    yield piece
            answered = True
        finally:
            if pieces or answered:
                self.messages += [turn, {"role": "assistant", "content": "".join(pieces)}]

    def clear(self) -> None:
        """Forget what was said; the system message stays."""
        self.messages.clear()

    def _opening(self) -> list[dict[str, str]]:
        return [] if self.system is None else [{"role": "system", "content": self.system}]


def length_note(statistics: Statistics | None, params: SamplingParams, context_length: int | None) -> str | None:
    """One line on which limit cut the answer short; None when none did."""
    if statistics is None or statistics.finish_reason != "length":
        return None
    if statistics.num_output_tokens == params.max_tokens:
        return f"The answer was cut at --max-tokens {params.max_tokens}."
    if context_length is None:
        return "The answer was cut: the server's limit is reached."
    return f"The answer was cut: the context of {context_length} tokens (--ctx) is full."
