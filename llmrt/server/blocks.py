"""An answer as blocks, each of one kind: thoughts, text, a call. Some APIs show answers so, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Sequence
from dataclasses import dataclass, field

from llmrt.server.choice import CallDelta, Delta, Kind, ReportedToken


@dataclass
class Block:
    """What there is of block ``index`` so far; ``text`` of a call are its arguments.

    ``logprobs`` are of the tokens that begin in it.
    """

    index: int
    kind: Kind
    text: str = ""
    id: str = ""
    name: str = ""
    logprobs: list[ReportedToken] = field(default_factory=list[ReportedToken])


@dataclass(frozen=True)
class BlockStart:
    """A block begins, without text."""

    block: Block


@dataclass(frozen=True)
class BlockText:
    """A block gained ``text``, in which the tokens of ``logprobs`` begin."""

    block: Block
    text: str
    logprobs: Sequence[ReportedToken] = ()


@dataclass(frozen=True)
class BlockEnd:
    """A block is whole."""

    block: Block


BlockEvent = BlockStart | BlockText | BlockEnd


class Blocks:
    """Divides one choice; ``whole`` are the blocks so far. ``last`` is the delta that ended it."""

    def __init__(self) -> None:
        self.whole: list[Block] = []
        self.last: Delta | None = None
        self._open: Block | None = None

    async def events(self, deltas: AsyncIterable[Delta]) -> AsyncGenerator[BlockEvent, None]:
        """The events of all ``deltas``."""
        async for delta in deltas:
            for event in self._add(delta):
                yield event
            self.last = delta
        for event in self._close():
            yield event

    def _add(self, delta: Delta) -> Iterator[BlockEvent]:
        if delta.reasoning:
            yield from self._text("reasoning", delta.reasoning)
        if delta.text:
            yield from self._text("text", delta.text, delta.logprobs)
        for call in delta.calls:
            yield from self._call(call)

    def _text(self, kind: Kind, text: str, logprobs: Sequence[ReportedToken] = ()) -> Iterator[BlockEvent]:
        if self._open is None or self._open.kind != kind:
            yield from self._start(kind)
        yield from self._extend(text, logprobs)

    def _call(self, call: CallDelta) -> Iterator[BlockEvent]:
        if call.id is not None and call.name is not None:
            yield from self._start("call", call.id, call.name)
        if call.arguments:
            yield from self._extend(call.arguments)

    def _start(self, kind: Kind, call_id: str = "", name: str = "") -> Iterator[BlockEvent]:
        yield from self._close()
        self._open = Block(len(self.whole), kind, id=call_id, name=name)
        self.whole.append(self._open)
        yield BlockStart(self._open)

    def _extend(self, text: str, logprobs: Sequence[ReportedToken] = ()) -> Iterator[BlockEvent]:
        assert self._open is not None
        self._open.text += text
        self._open.logprobs += logprobs
        yield BlockText(self._open, text, logprobs)

    def _close(self) -> Iterator[BlockEvent]:
        if self._open is not None:
            yield BlockEnd(self._open)
        self._open = None


async def whole_answer(deltas: AsyncIterable[Delta]) -> Blocks:
    """Wait for all of one choice."""
    blocks = Blocks()
    async for _ in blocks.events(deltas):
        pass
    return blocks
