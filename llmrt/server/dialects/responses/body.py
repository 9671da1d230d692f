"""The request body of ``/v1/responses``, and what becomes of fields that are not listed in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from llmrt.engine.request import MAX_LOGPROBS
from llmrt.server.extra_fields import FieldPolicy
from llmrt.server.fields import RequestSchema
from llmrt.server.schemas import MAX_TOOLS, StreamOptions, ToolName

_STATELESS = "needs stored responses, which this server does not keep; send the whole conversation as input"

FIELDS = FieldPolicy(
    harmless=frozenset(
        {
            "include_obfuscation",
            "prompt_cache_options",
            "prompt_cache_retention",
            "service_tier",
            "user",
            "verbosity",
        }
    ),
    unsupported={
        "background": (False,),
        "conversation": (),
        "previous_response_id": (),
        "prompt": (),
    },
    instead=dict.fromkeys(("background", "conversation", "previous_response_id", "prompt"), _STATELESS),
)


class FunctionTool(RequestSchema):
    """A tool that the client has."""

    type: Literal["function"]
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class OtherTool(BaseModel):
    """A tool that OpenAI's servers have, or a kind that no chat template shows: the model is not told of it."""

    model_config = ConfigDict(strict=True, frozen=True)

    type: str


def _kind(tool: object) -> str:
    return "<function>" if isinstance(tool, dict) and tool.get("type") == "function" else "<other>"


AnyTool = Annotated[
    Annotated[FunctionTool, Tag("<function>")] | Annotated[OtherTool, Tag("<other>")], Discriminator(_kind)
]


class ReasoningOptions(RequestSchema):
    """Thoughts are never summarized: they come whole."""

    effort: str | None = None


class TextOptions(RequestSchema):
    """What the answer looks like: text, a JSON object, or one that follows a schema."""

    format: dict[str, Any] | None = None


class ResponsesBody(RequestSchema):
    """``POST /v1/responses``. ``input`` is a text or a list of items, which ``items.py`` reads.

    The last fields are repeated in the response, and nothing else: ``max_tool_calls`` is of built-in tools.
    """

    model: str | None = None
    input: str | list[dict[str, Any]] = Field(min_length=1)
    instructions: str | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    tools: list[AnyTool] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    include: list[str] | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None
    max_tool_calls: int | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
