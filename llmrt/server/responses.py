"""The response bodies of the OpenAI routes, as records that encode to JSON. UNSET fields are left out."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

# finish_reason as clients know it; the engine has reasons of its own.
FinishReason = Literal["stop", "length", "tool_calls"]


class CachedTokens(Struct, frozen=True):
    """How many prompt tokens were not computed again, and how many of those were read from the disk.

    ``diverged_at`` is the index of the first one that nothing remembered has behind the same ones: null where the whole
    prompt was seen before, and absent for several prompts.
    """

    cached_tokens: int
    disk_tokens: int = 0
    diverged_at: int | UnsetType | None = UNSET


class ReasoningTokens(Struct, frozen=True):
    """How many tokens of the answers are thoughts."""

    reasoning_tokens: int


class Usage(Struct, frozen=True):
    """Tokens in the prompts, each prompt once, and in all answers."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: ReasoningTokens


class TopLogprob(Struct, frozen=True):
    """A token that could have been chosen."""

    token: str
    logprob: float
    bytes: list[int]


class ChatTokenLogprob(TopLogprob, frozen=True):
    """The chosen token and the likeliest ones at its place."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(Struct, frozen=True):
    """Log-probabilities of the tokens in the content."""

    content: list[ChatTokenLogprob]
    refusal: None = None


class CompletionLogprobs(Struct, frozen=True):
    """One entry a token; ``text_offset`` counts characters from the start of the choice's text.

    With ``echo`` these are the tokens of the prompt and all of the answer, one that ends it too. The first has null for
    its log-probabilities: nothing comes before it.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class PromptLogprob(Struct, frozen=True):
    """vLLM's form of a token's log-probability; ``rank`` is 1 for the likeliest at its place."""

    logprob: float
    rank: int
    decoded_token: str


# Of each token of a prompt by its id, with the likeliest at its place; the first has none, nothing comes before it.
PromptLogprobs = list[dict[int, PromptLogprob] | None]


class CalledFunction(Struct, frozen=True):
    """What is called; ``arguments`` are JSON as the model wrote it."""

    name: str
    arguments: str


class ToolCall(Struct, frozen=True):
    """A call that the client is asked to make."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class ChatMessage(Struct, frozen=True):
    """The answer of one choice. What the model thought has two names, for clients know one or the other."""

    content: str | None
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    role: Literal["assistant"] = "assistant"
    refusal: None = None


class ChatChoice(Struct, frozen=True):
    """One answer. ``stop_reason``, as in vLLM, is the stop string that ended it."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason
    stop_reason: str | None = None
    token_ids: list[int] | UnsetType = UNSET


class ChatCompletion(Struct, frozen=True):
    """The whole answer to a chat request."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage
    prompt_token_ids: list[int] | UnsetType = UNSET
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET
    object: Literal["chat.completion"] = "chat.completion"


class FunctionDelta(Struct, frozen=True):
    """The name of a called function, or more of its arguments."""

    arguments: str
    name: str | UnsetType = UNSET


class ToolCallDelta(Struct, frozen=True):
    """The beginning of call ``index``, which has all fields, or more of its arguments."""

    index: int
    function: FunctionDelta
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET


class ChatDelta(Struct, frozen=True):
    """What a chunk adds to a message; nothing in the chunk that finishes it."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class ChatChunkChoice(Struct, frozen=True):
    """One choice's part in a chunk."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | None = None
    token_ids: list[int] | UnsetType = UNSET


class ChatChunk(Struct, frozen=True):
    """One event of a chat stream. ``usage`` is null before its own event, and absent unless asked for."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


class CompletionChoice(Struct, frozen=True):
    """One choice of a text completion: the whole in a response, a part in a stream."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | None = None
    token_ids: list[int] | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET


class Completion(Struct, frozen=True):
    """A text completion, or one event of its stream."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage | UnsetType | None = UNSET
    object: Literal["text_completion"] = "text_completion"


class Model(Struct, frozen=True):
    """A model; the context length, once it is known, under the names that vLLM's and OpenRouter's clients look for.

    An adapter's ``parent`` is the model that it changes.
    """

    id: str
    created: int
    max_model_len: int | UnsetType
    context_length: int | UnsetType
    owned_by: str = "llmrt"
    object: Literal["model"] = "model"
    parent: str | UnsetType = UNSET


class ModelList(Struct, frozen=True):
    """All served models."""

    data: list[Model]
    object: Literal["list"] = "list"
