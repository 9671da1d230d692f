"""From the deltas of a reply to Anthropic's message, whole or in events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from llmrt.server.blocks import Block, BlockEnd, BlockEvent, Blocks, BlockStart, BlockText, whole_answer
from llmrt.server.choice import Delta
from llmrt.server.dialects.anthropic.records import (
    AnthropicMessage,
    ContentBlock,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    MessageUsage,
    OutputTokensDetails,
    Ping,
    StopDelta,
    StopReason,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Typed,
)
from llmrt.server.dialects.arguments import arguments_object
from llmrt.server.error_forms import anthropic_error
from llmrt.server.errors import HttpError
from llmrt.server.framing import event, named_event
from llmrt.server.reply import Reply

_STOP_REASONS: dict[str, StopReason] = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class AnthropicEvents:
    """Events with names, and one of them for silence."""

    media_type = "text/event-stream"
    end = b""

    def record(self, record: Typed) -> bytes:
        """One event."""
        return named_event(record)

    def idle(self) -> bytes:
        """A ping."""
        return named_event(Ping())

    def failure(self, error: HttpError) -> bytes:
        """The error event."""
        return event(anthropic_error(error), "error")


async def whole_message(reply: Reply) -> AnthropicMessage:
    """Wait for the whole answer."""
    blocks = await whole_answer(reply.deltas())
    assert blocks.last is not None
    return _message(reply, [_block(block) for block in blocks.whole], _stop(blocks.last))


async def message_events(reply: Reply) -> AsyncGenerator[Typed, None]:
    """The answer in events. The first has the whole prompt as its input: what is cached is known later."""
    yield MessageStart(_message(reply, [], None))
    blocks = Blocks()
    async with aclosing(reply.deltas()) as deltas, aclosing(blocks.events(deltas)) as events:
        async for block_event in events:
            yield _event(block_event)
    assert blocks.last is not None
    yield MessageDelta(_stop(blocks.last), _usage(reply))
    yield MessageStop()


def _message(reply: Reply, content: list[ContentBlock], stop: StopDelta | None) -> AnthropicMessage:
    return AnthropicMessage(
        id=reply.job.id,
        model=reply.state.model.id,
        content=content,
        stop_reason=None if stop is None else stop.stop_reason,
        stop_sequence=None if stop is None else stop.stop_sequence,
        usage=_usage(reply),
    )


def _stop(last: Delta) -> StopDelta:
    assert last.finish_reason is not None
    if last.stop_reason is not None and last.finish_reason == "stop":
        return StopDelta("stop_sequence", last.stop_reason)
    return StopDelta(_STOP_REASONS[last.finish_reason], None)


def _usage(reply: Reply) -> MessageUsage:
    usage = reply.count.usage
    cached = usage.prompt_tokens_details.cached_tokens
    thoughts = OutputTokensDetails(usage.completion_tokens_details.reasoning_tokens)
    return MessageUsage(usage.prompt_tokens - cached, usage.completion_tokens, cached, thoughts)


def _block(block: Block) -> ContentBlock:
    match block.kind:
        case "text":
            return TextBlock(block.text)
        case "reasoning":
            return ThinkingBlock(block.text)
        case "call":
            return ToolUseBlock(block.id, block.name, arguments_object(block.text))


def _event(block_event: BlockEvent) -> Typed:
    match block_event:
        case BlockStart(block):
            return ContentBlockStart(block.index, _block(Block(block.index, block.kind, "", block.id, block.name)))
        case BlockText(block, text):
            return ContentBlockDelta(block.index, _delta(block, text))
        case BlockEnd(block):
            return ContentBlockStop(block.index)


def _delta(block: Block, text: str) -> TextDelta | ThinkingDelta | InputJsonDelta:
    match block.kind:
        case "text":
            return TextDelta(text)
        case "reasoning":
            return ThinkingDelta(text)
        case "call":
            return InputJsonDelta(text)
