"""The response bodies and events of ``/v1/messages``. Fields that are always null are those that the API always has."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class Typed(Struct, frozen=True, tag_field="type"):
    """A record that says its type."""


class TextBlock(Typed, frozen=True, tag="text"):
    """A text."""

    text: str
    citations: None = None


class ThinkingBlock(Typed, frozen=True, tag="thinking"):
    """What the model thought; nothing is signed here."""

    thinking: str
    signature: str = ""


class DirectCaller(Typed, frozen=True, tag="direct"):
    """The model calls, and not code that it wrote."""


class ToolUseBlock(Typed, frozen=True, tag="tool_use"):
    """A call that the client is asked to make."""

    id: str
    name: str
    input: dict[str, Any]
    caller: DirectCaller = DirectCaller()


ContentBlock = TextBlock | ThinkingBlock | ToolUseBlock


class OutputTokensDetails(Struct, frozen=True):
    """How many tokens of the answer are thoughts."""

    thinking_tokens: int


class MessageUsage(Struct, frozen=True):
    """``input_tokens`` are those of the prompt that were not read from the cache."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    output_tokens_details: OutputTokensDetails
    cache_creation_input_tokens: int = 0
    cache_creation: None = None
    server_tool_use: None = None
    inference_geo: None = None
    service_tier: Literal["standard"] = "standard"


class AnthropicMessage(Typed, frozen=True, tag="message"):
    """The whole answer, or what is known of it when a stream begins."""

    id: str
    model: str
    content: list[ContentBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessageUsage
    role: Literal["assistant"] = "assistant"
    container: None = None
    stop_details: None = None


class TokenCount(Struct, frozen=True):
    """The tokens of a prompt."""

    input_tokens: int


class MessageStart(Typed, frozen=True, tag="message_start"):
    """The answer begins."""

    message: AnthropicMessage


class ContentBlockStart(Typed, frozen=True, tag="content_block_start"):
    """Block ``index`` begins, empty."""

    index: int
    content_block: ContentBlock


class TextDelta(Typed, frozen=True, tag="text_delta"):
    """More of a text."""

    text: str


class ThinkingDelta(Typed, frozen=True, tag="thinking_delta"):
    """More of the thoughts."""

    thinking: str


class InputJsonDelta(Typed, frozen=True, tag="input_json_delta"):
    """More of a call's arguments, which joined are JSON."""

    partial_json: str


class ContentBlockDelta(Typed, frozen=True, tag="content_block_delta"):
    """Block ``index`` gained something."""

    index: int
    delta: TextDelta | ThinkingDelta | InputJsonDelta


class ContentBlockStop(Typed, frozen=True, tag="content_block_stop"):
    """Block ``index`` is whole."""

    index: int


class StopDelta(Struct, frozen=True):
    """Why the answer ended."""

    stop_reason: StopReason
    stop_sequence: str | None
    container: None = None
    stop_details: None = None


class MessageDelta(Typed, frozen=True, tag="message_delta"):
    """How the answer ended, and the whole count of its tokens."""

    delta: StopDelta
    usage: MessageUsage


class MessageStop(Typed, frozen=True, tag="message_stop"):
    """The answer is whole."""


class Ping(Typed, frozen=True, tag="ping"):
    """Nothing has come for a while."""


MessageEvent = (
    MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop | Ping
)


class ModelInfo(Typed, frozen=True, tag="model"):
    """A model; ``created_at`` is when the server first offered it."""

    id: str
    display_name: str
    created_at: str
    max_input_tokens: int | None
    lifecycle: Literal["active"] = "active"


class ModelPage(Struct, frozen=True):
    """Some of the served models. ``first_id`` and ``last_id`` are null where there are none."""

    data: list[ModelInfo]
    first_id: str | None
    last_id: str | None
    has_more: bool
