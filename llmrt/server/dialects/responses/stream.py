"""From the deltas of a reply to the events of a response."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import msgspec

from llmrt.server.blocks import Block, BlockEnd, BlockEvent, Blocks, BlockStart, BlockText
from llmrt.server.dialects.responses.answer import Answer
from llmrt.server.dialects.responses.body import ResponsesBody
from llmrt.server.dialects.responses.records import (
    ArgumentsDelta,
    ArgumentsDone,
    ContentPartAdded,
    ContentPartDone,
    ErrorEvent,
    Event,
    FunctionCallItem,
    OutputItemAdded,
    OutputItemDone,
    OutputText,
    OutputTextDelta,
    OutputTextDone,
    ReasoningText,
    ReasoningTextDelta,
    ReasoningTextDone,
    ResponseCompleted,
    ResponseCreated,
    ResponseError,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
)
from llmrt.server.errors import HttpError
from llmrt.server.framing import PING, named_event
from llmrt.server.reply import Reply


class ResponseStream:
    """The events of one response, and their framing, which numbers them."""

    media_type = "text/event-stream"
    end = b""

    def __init__(self, body: ResponsesBody, reply: Reply) -> None:
        self._answer = Answer(body, reply, Blocks())
        self._num_events = 0

    def record(self, record: Event) -> bytes:
        """One event."""
        numbered = msgspec.structs.replace(record, sequence_number=self._num_events)
        self._num_events += 1
        return named_event(numbered)

    def idle(self) -> bytes:
        """A comment."""
        return PING

    def failure(self, error: HttpError) -> bytes:
        """The error, and the response that it ended."""
        body = error.body
        last = ErrorEvent(code=body.code or body.type, message=body.message, param=body.param)
        failed = self._answer.response("failed", ResponseError("server_error", body.message))
        return self.record(last) + self.record(ResponseFailed(response=failed))

    async def events(self) -> AsyncGenerator[Event, None]:
        """The answer in events, without their numbers."""
        answer = self._answer
        yield ResponseCreated(response=answer.response("in_progress"))
        yield ResponseInProgress(response=answer.response("in_progress"))
        async with aclosing(answer.reply.deltas()) as deltas, aclosing(answer.blocks.events(deltas)) as events:
            async for block_event in events:
                for event in self._of_block(block_event):
                    yield event
        if answer.is_cut:
            yield ResponseIncomplete(response=answer.response("incomplete"))
        else:
            yield ResponseCompleted(response=answer.response("completed"))

    def _of_block(self, event: BlockEvent) -> Iterator[Event]:
        match event:
            case BlockStart(block):
                yield from self._start(block)
            case BlockText():
                yield self._delta(event)
            case BlockEnd(block):
                yield from self._end(block)

    def _start(self, block: Block) -> Iterator[Event]:
        item = self._answer.item(block, "in_progress")
        yield OutputItemAdded(output_index=block.index, item=item)
        if block.kind != "call":
            part = OutputText("") if block.kind == "text" else ReasoningText("")
            yield ContentPartAdded(output_index=block.index, item_id=item.id, part=part)

    def _delta(self, event: BlockText) -> Event:
        block, text = event.block, event.text
        index, item = block.index, self._answer.item(block, "in_progress")
        if block.kind == "text":
            logprobs = self._answer.logprobs(event.logprobs)
            return OutputTextDelta(output_index=index, item_id=item.id, delta=text, logprobs=logprobs)
        kind = ReasoningTextDelta if block.kind == "reasoning" else ArgumentsDelta
        return kind(output_index=index, item_id=item.id, delta=text)

    def _end(self, block: Block) -> Iterator[Event]:
        index, item = block.index, self._answer.item(block, self._answer.end_of(block))
        match block.kind:
            case "text":
                text = self._answer.text(block)
                yield OutputTextDone(output_index=index, item_id=item.id, text=text.text, logprobs=text.logprobs)
            case "reasoning":
                yield ReasoningTextDone(output_index=index, item_id=item.id, text=block.text)
            case "call":
                yield ArgumentsDone(output_index=index, item_id=item.id, name=block.name, arguments=block.text)
        if not isinstance(item, FunctionCallItem):
            yield ContentPartDone(output_index=index, item_id=item.id, part=item.content[0])
        yield OutputItemDone(output_index=index, item=item)
