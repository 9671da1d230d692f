"""The response body and the events of ``/v1/responses``."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from llmrt.server.responses import ChatTokenLogprob

Status = Literal["in_progress", "completed", "incomplete", "failed"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class Typed(Struct, frozen=True, tag_field="type"):
    """A record that says its type."""


class OutputText(Typed, frozen=True, tag="output_text"):
    """A text of a message."""

    text: str
    annotations: list[Any] = []
    logprobs: list[ChatTokenLogprob] = []


class ReasoningText(Typed, frozen=True, tag="reasoning_text"):
    """A text of thoughts."""

    text: str


class MessageItem(Typed, frozen=True, tag="message"):
    """What the model says."""

    id: str
    status: ItemStatus
    content: list[OutputText]
    role: Literal["assistant"] = "assistant"


class ReasoningItem(Typed, frozen=True, tag="reasoning"):
    """What the model thought before."""

    id: str
    status: ItemStatus
    content: list[ReasoningText]
    summary: list[Any] = []


class FunctionCallItem(Typed, frozen=True, tag="function_call"):
    """A call that the client is asked to make; ``arguments`` are JSON as the model wrote it."""

    id: str
    status: ItemStatus
    call_id: str
    name: str
    arguments: str


Item = MessageItem | ReasoningItem | FunctionCallItem


class InputTokensDetails(Struct, frozen=True):
    """How many tokens of the input were not computed again."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(Struct, frozen=True):
    """How many tokens of the output are thoughts."""

    reasoning_tokens: int


class ResponseUsage(Struct, frozen=True):
    """Tokens of the prompt and of the answer."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseError(Struct, frozen=True):
    """Why a response failed."""

    code: str
    message: str


class IncompleteDetails(Struct, frozen=True):
    """Why a response is not whole."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ReasoningShown(Struct, frozen=True):
    """What was asked for."""

    effort: str | None
    summary: None = None


class TextShown(Struct, frozen=True):
    """What was asked for."""

    format: dict[str, Any]


class ToolShown(Typed, frozen=True, tag="function"):
    """A tool that was sent."""

    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


class ResponseObject(Struct, frozen=True, kw_only=True):
    """A response as far as it is. What was asked for is repeated; values that were not sent are those used."""

    id: str
    created_at: int
    completed_at: int | None
    model: str
    status: Status
    output: list[Item]
    usage: ResponseUsage | None
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    temperature: float
    top_p: float
    frequency_penalty: float
    presence_penalty: float
    tools: list[ToolShown]
    tool_choice: str | dict[str, Any]
    parallel_tool_calls: bool
    text: TextShown
    reasoning: ReasoningShown
    max_tool_calls: int | None
    prompt_cache_key: str | None
    safety_identifier: str | None
    top_logprobs: int
    object: Literal["response"] = "response"
    service_tier: Literal["default"] = "default"
    store: bool = False
    background: bool = False
    previous_response_id: None = None
    truncation: Literal["disabled"] = "disabled"


class Event(Typed, frozen=True, kw_only=True):
    """Numbered as it goes out."""

    sequence_number: int = 0


class ResponseEvent(Event, frozen=True, kw_only=True):
    """The response as it is now."""

    response: ResponseObject


class ResponseCreated(ResponseEvent, frozen=True, tag="response.created"):
    """The request was taken."""


class ResponseInProgress(ResponseEvent, frozen=True, tag="response.in_progress"):
    """It is being answered."""


class ResponseCompleted(ResponseEvent, frozen=True, tag="response.completed"):
    """The answer is whole."""


class ResponseIncomplete(ResponseEvent, frozen=True, tag="response.incomplete"):
    """The answer was cut off by its length."""


class ResponseFailed(ResponseEvent, frozen=True, tag="response.failed"):
    """There is no more of the answer, for an error."""


class ErrorEvent(Event, frozen=True, kw_only=True, tag="error"):
    """The error itself."""

    code: str | None
    message: str
    param: str | None


class ItemEvent(Event, frozen=True, kw_only=True):
    """Something of the output at ``output_index``."""

    output_index: int


class OutputItemAdded(ItemEvent, frozen=True, kw_only=True, tag="response.output_item.added"):
    """An item begins, empty."""

    item: Item


class OutputItemDone(ItemEvent, frozen=True, kw_only=True, tag="response.output_item.done"):
    """An item is whole."""

    item: Item


class PartEvent(ItemEvent, frozen=True, kw_only=True):
    """Something of the only part of an item with content."""

    item_id: str
    content_index: int | UnsetType = 0


class ContentPartAdded(PartEvent, frozen=True, kw_only=True, tag="response.content_part.added"):
    """A part begins, empty."""

    part: OutputText | ReasoningText


class ContentPartDone(PartEvent, frozen=True, kw_only=True, tag="response.content_part.done"):
    """A part is whole."""

    part: OutputText | ReasoningText


class OutputTextDelta(PartEvent, frozen=True, kw_only=True, tag="response.output_text.delta"):
    """More text."""

    delta: str
    logprobs: list[ChatTokenLogprob] = []


class OutputTextDone(PartEvent, frozen=True, kw_only=True, tag="response.output_text.done"):
    """The whole text."""

    text: str
    logprobs: list[ChatTokenLogprob] = []


class ReasoningTextDelta(PartEvent, frozen=True, kw_only=True, tag="response.reasoning_text.delta"):
    """More thoughts."""

    delta: str


class ReasoningTextDone(PartEvent, frozen=True, kw_only=True, tag="response.reasoning_text.done"):
    """All of the thoughts."""

    text: str


class ArgumentsDelta(PartEvent, frozen=True, kw_only=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    delta: str
    content_index: int | UnsetType = UNSET


class ArgumentsDone(PartEvent, frozen=True, kw_only=True, tag="response.function_call_arguments.done"):
    """All of a call's arguments."""

    name: str
    arguments: str
    content_index: int | UnsetType = UNSET


ResponseStreamEvent = (
    ResponseCreated
    | ResponseInProgress
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | ErrorEvent
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | ArgumentsDelta
    | ArgumentsDone
)
