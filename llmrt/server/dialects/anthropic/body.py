"""The request bodies of ``/v1/messages``, and what becomes of fields that are not listed in them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmrt.server.error_forms import THREAD
from llmrt.server.extra_fields import FieldPolicy
from llmrt.server.fields import RequestSchema
from llmrt.server.schemas import MAX_TOOLS, ToolName

_KEEP_THOUGHTS = {"type": "clear_thinking_20251015", "keep": "all"}  # Claude Code's, which clears nothing

FIELDS = FieldPolicy(
    harmless=frozenset(
        {"cache_control", "diagnostics", "inference_geo", "metadata", "service_tier", "user_profile_id", "workspace_id"}
    ),
    unsupported={
        "container": (),
        "context_management": ({"edits": []}, {"edits": [_KEEP_THOUGHTS]}),
        "mcp_servers": ([],),
        "speed": ("standard",),
        THREAD: (),
    },
    instead={THREAD: "is not supported by this server, which keeps no conversations; send all messages without it"},
)


class MessageParam(RequestSchema):
    """``content`` is a text or a list of blocks, which ``messages.py`` reads."""

    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]


class Tool(RequestSchema):
    """A tool that the client has; those that a server has are refused by their ``type``."""

    type: Literal["custom"] | None = None
    name: ToolName
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None


class ToolChoice(RequestSchema):
    """``any`` must call, ``tool`` must call the one with this ``name``."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(RequestSchema):
    """Whether a model that can think first does; ``budget_tokens`` cannot be kept to."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = None
    display: str | None = None


class OutputConfig(RequestSchema):
    """How much thought an answer takes, and the schema that it follows."""

    effort: str | None = None
    format: dict[str, Any] | None = None


class CountBody(RequestSchema):
    """``POST /v1/messages/count_tokens``: what a prompt is made from."""

    model: str | None = None
    messages: list[MessageParam] = Field(min_length=1)
    system: str | list[dict[str, Any]] | None = None
    tools: list[Tool] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None


class MessagesBody(CountBody):
    """``POST /v1/messages``. A last message of the assistant is continued."""

    max_tokens: int = Field(ge=1)
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = Field(None, ge=0)


class PageQuery(BaseModel):
    """Which models a list shall have: ``limit`` of those behind ``after_id``, or of those before ``before_id``.

    They are read where the header ``anthropic-version`` asks for Anthropic's form of the list.
    """

    model_config = ConfigDict(frozen=True)

    limit: int = Field(20, ge=1, le=1000)
    after_id: str | None = None
    before_id: str | None = None
