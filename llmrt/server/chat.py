"""The one pipeline of chat: from a checked body to a reply, and from its deltas to OpenAI's records.

Other dialects translate their requests into a ``ChatBody``, and the deltas into their own records.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

import msgspec
from msgspec import UNSET, UnsetType

from llmrt.engine.request import SamplingParams
from llmrt.errors import RequestError
from llmrt.server.answer_plan import AnswerPlan, plan_answer
from llmrt.server.chat_prompt import ChatPrompt, encode_prompt, render_prompt, unknown_variables
from llmrt.server.choice import CallDelta, Delta, ReportedToken
from llmrt.server.generation import Answer, collect
from llmrt.server.logprobs import chat_logprobs
from llmrt.server.reply import Reply, admit, asked_prompt_logprobs, check_body
from llmrt.server.responses import (
    CalledFunction,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatDelta,
    ChatLogprobs,
    ChatMessage,
    FunctionDelta,
    ToolCall,
    ToolCallDelta,
)
from llmrt.server.sampling import sampling_params
from llmrt.server.schemas import ChatBody
from llmrt.server.state import ServerState
from llmrt.server.tool_use import tool_use


async def admit_chat(
    state: ServerState, body: ChatBody, *, id_prefix: str = "chatcmpl-", unused: Sequence[str] = ()
) -> Reply:
    """Check the body and render its messages; raises ``LlmrtError`` for what cannot be answered.

    ``unused`` are fields of another dialect that have no effect.
    """
    ignored = check_body(state, body)
    if body.top_logprobs is not None and not body.logprobs:
        raise RequestError("top_logprobs needs logprobs: true.", param="top_logprobs")
    # Templates, long prompts, grammars and the texts of biases take milliseconds, in which other streams go on.
    prompt, token_ids, plan, params = await asyncio.to_thread(_prepare, state, body)
    return admit(
        state,
        body,
        [token_ids],
        params,
        id_prefix=id_prefix,
        max_tokens=body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
        strip_leading_space=not (prompt.continues or plan.exact),
        answer=plan.answer,
        unused=[*unused, *unknown_variables(state.model, body), *plan.not_enforced, *ignored],
    )


def _prepare(state: ServerState, body: ChatBody) -> tuple[ChatPrompt, list[int], AnswerPlan, SamplingParams]:
    model, tools = state.model, tool_use(body)
    prompt = render_prompt(model, body, tools)
    token_ids, plan = encode_prompt(model, body, prompt), plan_answer(model, body, tools, prompt.thoughts)
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    return prompt, token_ids, plan, sampling_params(state, body, logprobs=logprobs, grammar=plan.grammar)


async def chat_completion(reply: Reply) -> ChatCompletion:
    """Wait for the whole answer."""
    answers = await collect(reply.deltas(), reply.job.num_choices)
    model = reply.state.model
    return ChatCompletion(
        id=reply.job.id,
        created=reply.created,
        model=model.id,
        system_fingerprint=model.fingerprint,
        choices=[_choice(reply, index, answer) for index, answer in enumerate(answers)],
        usage=reply.count.usage,
        prompt_token_ids=_prompt_token_ids(reply),
        prompt_logprobs=asked_prompt_logprobs(reply, answers[0].prompt_logprobs),
    )


def _choice(reply: Reply, index: int, answer: Answer) -> ChatChoice:
    return ChatChoice(
        index=index,
        message=_message(answer),
        logprobs=_logprobs(reply, answer.logprobs),
        finish_reason=answer.finish_reason,
        stop_reason=answer.stop_reason,
        token_ids=_token_ids(reply, answer.token_ids),
    )


def _message(answer: Answer) -> ChatMessage:
    calls = [ToolCall(call.id, CalledFunction(call.name, call.arguments)) for call in answer.calls]
    return ChatMessage(
        content=answer.text if answer.text or not calls else None,
        reasoning_content=answer.reasoning or UNSET,
        reasoning=answer.reasoning or UNSET,
        tool_calls=calls or UNSET,
    )


async def chat_chunks(reply: Reply) -> AsyncGenerator[ChatChunk, None]:
    """The answer in chunks: each choice begins with its role and ends with its reason; the usage comes last."""
    started: set[int] = set()
    async with aclosing(reply.deltas()) as deltas:
        async for delta in deltas:
            if delta.index not in started:
                role = ChatChunkChoice(delta.index, ChatDelta(role="assistant", content=""))
                yield _chunk(reply, [role], prompt_token_ids=UNSET if started else _prompt_token_ids(reply))
                started.add(delta.index)
            for choice in _chunk_choices(reply, delta):
                yield _chunk(reply, [choice])
    if reply.include_usage:
        yield msgspec.structs.replace(_chunk(reply, []), usage=reply.count.usage)


def _chunk_choices(reply: Reply, delta: Delta) -> Iterator[ChatChunkChoice]:
    """The thoughts or the content, or each call by itself, and then the end, which has none of them."""
    token_ids = _token_ids(reply, delta.token_ids)
    for part in _chat_deltas(delta):
        logprobs = None if isinstance(part.content, UnsetType) else _logprobs(reply, delta.logprobs)
        yield ChatChunkChoice(delta.index, part, logprobs, token_ids=token_ids)
        token_ids = _token_ids(reply, [])
    if delta.finish_reason is not None:
        yield ChatChunkChoice(
            delta.index,
            ChatDelta(),
            finish_reason=delta.finish_reason,
            stop_reason=delta.stop_reason,
            token_ids=token_ids,
        )


def _chat_deltas(delta: Delta) -> Iterator[ChatDelta]:
    if delta.reasoning:
        yield ChatDelta(reasoning_content=delta.reasoning, reasoning=delta.reasoning)
    if delta.text:
        yield ChatDelta(content=delta.text)
    for call in delta.calls:
        yield ChatDelta(tool_calls=[_call_delta(call)])


def _call_delta(call: CallDelta) -> ToolCallDelta:
    if call.id is None or call.name is None:
        return ToolCallDelta(call.index, FunctionDelta(call.arguments))
    return ToolCallDelta(call.index, FunctionDelta(call.arguments, call.name), call.id, "function")


def _chunk(
    reply: Reply, choices: list[ChatChunkChoice], *, prompt_token_ids: list[int] | UnsetType = UNSET
) -> ChatChunk:
    return ChatChunk(
        id=reply.job.id,
        created=reply.created,
        model=reply.state.model.id,
        system_fingerprint=reply.state.model.fingerprint,
        choices=choices,
        usage=None if reply.include_usage else UNSET,
        prompt_token_ids=prompt_token_ids,
    )


def _logprobs(reply: Reply, tokens: Sequence[ReportedToken]) -> ChatLogprobs | None:
    if reply.job.params.logprobs is None:
        return None
    return chat_logprobs(reply.state.model.tokenizer, tokens)


def _token_ids(reply: Reply, token_ids: list[int]) -> list[int] | UnsetType:
    return token_ids if reply.body.return_token_ids else UNSET


def _prompt_token_ids(reply: Reply) -> list[int] | UnsetType:
    return _token_ids(reply, reply.job.prompts[0])
