"""``/tokenize``, ``/detokenize``, ``/apply-template`` and ``/tokenizer_info``: what a prompt is in tokens and in text.

Fields and answers are vLLM's; llmrt reads llama.cpp's names too, and answers under both.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from msgspec import Struct

from llmrt.errors import RequestError
from llmrt.server.body import json_body
from llmrt.server.chat_prompt import prompt_token_ids, render_prompt, unknown_variables
from llmrt.server.dependencies import State
from llmrt.server.extra_fields import check_extra_fields, ignored_header
from llmrt.server.fields import RequestSchema, as_body
from llmrt.server.json_response import json_response
from llmrt.server.sampling import check_ids
from llmrt.server.schemas import ChatBody
from llmrt.server.served_model import ServedModel
from llmrt.server.tool_use import tool_use

router = APIRouter()


class TokenizeBody(RequestSchema):
    """A text as ``prompt`` (llama.cpp: ``content``), or ``messages`` with what a chat request has beside them.

    ``add_special_tokens`` is true for a ``prompt`` unless it is sent; ``add_special``, which belongs to ``content``, is
    false. ``return_token_strs`` adds each token as the vocabulary spells it.
    """

    model: str | None = None
    prompt: str | None = None
    content: str | None = None
    add_special_tokens: bool | None = None
    add_special: bool | None = None
    parse_special: bool | None = None
    return_token_strs: bool | None = None


class DetokenizeBody(RequestSchema):
    """Token ids, which become text with the names of special tokens in it."""

    model: str | None = None
    tokens: list[int]


class Tokenized(Struct, frozen=True):
    """The tokens of a prompt, beside the most that a prompt and its answer can have."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Detokenized(Struct, frozen=True):
    """A text under vLLM's name and llama.cpp's."""

    prompt: str
    content: str


class Rendered(Struct, frozen=True):
    """A conversation as the model reads it."""

    prompt: str


class TokenizerInfo(Struct, frozen=True):
    """What programs that make prompts themselves read in tokenizer_config.json; None for what is not there."""

    bos_token: str | None
    eos_token: str | None
    pad_token: str | None
    unk_token: str | None
    chat_template: str | None


@router.post("/tokenize")
async def tokenize(state: State, body: Annotated[TokenizeBody, Depends(json_body(TokenizeBody))]) -> Response:
    """The token ids of a text or of a conversation."""
    context_length = state.engine.info.context_length
    token_ids, ignored = await asyncio.to_thread(_encode, state.model, body)
    strs = [state.model.tokenizer.token_text(i) for i in token_ids] if body.return_token_strs else None
    return json_response(Tokenized(len(token_ids), context_length, token_ids, strs), ignored_header(ignored))


@router.post("/detokenize")
async def detokenize(state: State, body: Annotated[DetokenizeBody, Depends(json_body(DetokenizeBody))]) -> Response:
    """The text of token ids."""
    tokenizer = state.model.tokenizer
    check_ids(body.tokens, tokenizer.vocab_size, "tokens")
    text = await asyncio.to_thread(tokenizer.decode, body.tokens, skip_special_tokens=False)
    return json_response(Detokenized(text, text), ignored_header(check_extra_fields(body)))


@router.post("/apply-template")
async def apply_template(state: State, body: Annotated[ChatBody, Depends(json_body(ChatBody))]) -> Response:
    """The prompt that a chat request with this body would have."""
    ignored = check_extra_fields(body)
    prompt = await asyncio.to_thread(render_prompt, state.model, body, tool_use(body))
    return json_response(Rendered(prompt.text), ignored_header([*unknown_variables(state.model, body), *ignored]))


@router.get("/tokenizer_info")
async def tokenizer_info(state: State) -> Response:
    """The special tokens by name, and the chat template."""
    names, chat = state.model.special_tokens, state.model.chat
    info = TokenizerInfo(
        bos_token=names.get("bos_token"),
        eos_token=names.get("eos_token"),
        pad_token=names.get("pad_token"),
        unk_token=names.get("unk_token"),
        chat_template=None if chat is None else chat.template.default,
    )
    return json_response(info)


def _encode(model: ServedModel, body: TokenizeBody) -> tuple[list[int], list[str]]:
    """The tokens, and the names of fields that had no effect."""
    given = [name for name in ("prompt", "content", "messages") if _has(body, name)]
    if len(given) != 1:
        raise RequestError("Send one of prompt, content and messages.", param="prompt")
    if given == ["messages"]:
        chat = as_body(ChatBody, {name: value for name, value in body if name != "return_token_strs"})
        return prompt_token_ids(model, chat), [*unknown_variables(model, chat), *check_extra_fields(chat)]
    special = body.add_special_tokens is not False if body.content is None else bool(body.add_special)
    text = body.prompt if body.content is None else body.content
    assert text is not None
    parse = body.parse_special is not False
    return model.tokenizer.encode(text, add_special_tokens=special, parse_special=parse), check_extra_fields(body)


def _has(body: TokenizeBody, name: str) -> bool:
    return getattr(body, name, None) is not None
