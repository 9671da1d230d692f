"""From bodies of ``/api/`` to chat and text requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmrt.errors import RequestError
from llmrt.server.dialects.field_names import FieldNames
from llmrt.server.dialects.ollama.body import OPTIONS, AnswerBody, GenerateBody, OllamaChatBody, Options
from llmrt.server.dialects.ollama.messages import chat_messages
from llmrt.server.extra_fields import check_extra_fields
from llmrt.server.fields import as_body
from llmrt.server.schemas import ChatBody, CompletionBody
from llmrt.server.served_model import ServedModel
from llmrt.server.state import ServerState
from llmrt.text.messages import Message

_OPTION = FieldNames({r"^": "options."})
_SAME = ("temperature", "top_k", "top_p", "min_p", "presence_penalty", "frequency_penalty")  # under the same name
NAMES = FieldNames(
    {
        rf"(?<!\.)({'|'.join(_SAME)})\b": r"options.\1",
        r"max_tokens\b": "options.num_predict",
        r"repetition_penalty\b": "options.repeat_penalty",
        r"response_format\b": "format",
        r"reasoning_effort\b": "think",
        r"chat_template_kwargs\.enable_thinking\b": "think",
    }
)


def chat_body(model: ServedModel, body: OllamaChatBody) -> ChatBody:
    """The chat request that asks for the same. Raises ``RequestError`` for what cannot be asked for."""
    tools = [tool.model_dump(exclude_none=True) for tool in body.tools or []]
    return as_body(ChatBody, _chat_fields(model, body, chat_messages(body.messages or [])) | {"tools": tools})


def prompt_body(model: ServedModel, body: GenerateBody) -> ChatBody:
    """The chat request of one message."""
    system: list[Message] = [{"role": "system", "content": body.system}] if body.system else []
    return as_body(ChatBody, _chat_fields(model, body, [*system, {"role": "user", "content": body.prompt}]))


def text_body(body: GenerateBody) -> CompletionBody:
    """The request to continue the prompt as it is, or to fill the gap between it and the suffix."""
    asked_by = "suffix" if body.suffix else "raw"
    for name in ("system", "think"):
        if getattr(body, name):
            raise RequestError(f"{name} cannot go with {asked_by}: the prompt is read as it is.", param=name)
    fields = {
        **_fields(body),
        "prompt": body.prompt or "",
        "suffix": body.suffix,
        "logprobs": (body.top_logprobs or 0) if body.logprobs else None,
    }
    return as_body(CompletionBody, fields)


def unused_fields(state: ServerState, body: AnswerBody) -> Iterator[str]:
    """The known fields that have no effect. Raises ``RequestError`` for options that should have one."""
    options = body.options
    if options.num_ctx not in (None, state.engine.info.context_length):  # a prompt that does not fit is refused
        yield "options.num_ctx"
    if options.repeat_last_n not in (None, -1, 0):
        yield "options.repeat_last_n"
    with _OPTION.in_errors():
        check_extra_fields(options, OPTIONS)


def unused_options(options: Options) -> list[str]:
    """All known ones that were sent, where none has an effect."""
    return [f"options.{name}" for name in type(options).model_fields if name in options.model_fields_set]


def _chat_fields(model: ServedModel, body: AnswerBody, messages: list[Message]) -> dict[str, Any]:
    return {
        **_fields(body),
        **_thinking(model, body.think),
        "messages": messages,
        "logprobs": body.logprobs,
        "top_logprobs": body.top_logprobs,
    }


def _fields(body: AnswerBody) -> dict[str, Any]:
    return {
        "stream": body.stream,
        "response_format": _format(body.format),
        **_sampling(body.options),
    }


def _sampling(options: Options) -> dict[str, Any]:
    if options.num_predict is not None and (options.num_predict == 0 or options.num_predict < -2):
        raise RequestError(
            f"options.num_predict is {options.num_predict}; it must be at least 1, or -1 for no limit.",
            param="options.num_predict",
        )
    limited = options.num_predict is not None and options.num_predict > 0
    seeded = options.seed is not None and options.seed >= 0
    return {
        **{name: getattr(options, name) for name in _SAME},
        "max_tokens": options.num_predict if limited else None,
        "seed": options.seed if seeded else None,
        "stop": list(options.stop),
        "repetition_penalty": 1.0 if options.repeat_last_n == 0 else options.repeat_penalty,
    }


def _format(asked: str | dict[str, Any] | None) -> dict[str, Any] | None:
    if asked is None or asked == "":
        return None
    if isinstance(asked, dict):
        return {"type": "json_schema", "json_schema": {"schema": asked}}
    if asked == "json":
        return {"type": "json_object"}
    raise RequestError(f"format is {asked!r}; it must be 'json' or a JSON schema.", param="format")


def _thinking(model: ServedModel, think: bool | str | None) -> dict[str, Any]:
    chat = model.chat
    reasons = chat is not None and chat.reasoning is not None
    if think and not reasons:
        raise RequestError(f"{model.id!r} does not support thinking.", param="think")
    if isinstance(think, str):
        return {"reasoning_effort": think}
    if think is None or not reasons:
        return {}
    has_switch = chat is not None and chat.has_thinking_switch
    return {"chat_template_kwargs": {"enable_thinking": think}} if has_switch or not think else {}
