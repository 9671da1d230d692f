"""``POST /v1/completions``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from msgspec import UNSET, UnsetType

from llmrt.server.body import json_body
from llmrt.server.choice import Delta
from llmrt.server.dependencies import State
from llmrt.server.framing import ServerSentEvents
from llmrt.server.generation import Answer, collect
from llmrt.server.logprobs import completion_logprobs, with_prompt
from llmrt.server.reply import Reply
from llmrt.server.responses import Completion, CompletionChoice, CompletionLogprobs, Usage
from llmrt.server.schemas import CompletionBody
from llmrt.server.state import ServerState
from llmrt.server.stream import RecordStream, until_disconnect
from llmrt.server.text_completion import admit_text

router = APIRouter()

_DEFAULT_MAX_TOKENS = 16  # OpenAI's


@dataclass(frozen=True)
class _Completions:
    """A reply and the text that each prompt's answers begin with."""

    reply: Reply
    echoes: list[str]

    def echo(self, index: int) -> str:
        return self.echoes[index // self.reply.job.n]


@router.post("/v1/completions")
async def completions(
    request: Request, state: State, body: Annotated[CompletionBody, Depends(json_body(CompletionBody))]
) -> Response:
    """Continue one text or several, as a whole or as a stream."""
    max_tokens = _DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    reply = await admit_text(state, body, max_tokens=max_tokens)
    job = _Completions(reply, [_echo(state, body, prompt) for prompt in body.prompt])
    if body.stream:
        chunks, seconds = _chunks(job), state.settings.ping_seconds
        return RecordStream(chunks, ServerSentEvents(), reply.headers, ping_seconds=seconds)
    return await until_disconnect(request, _whole(job), reply.headers)


def _echo(state: ServerState, body: CompletionBody, prompt: str | list[int]) -> str:
    if not body.echo:
        return ""
    if isinstance(prompt, str):
        return prompt
    return state.model.tokenizer.decode(prompt, skip_special_tokens=False)


async def _whole(job: _Completions) -> Completion:
    reply = job.reply
    answers = await collect(reply.deltas(), reply.job.num_choices)
    choices = [_choice(job, index, answer, first=True) for index, answer in enumerate(answers)]
    return _completion(reply, choices, reply.count.usage)


async def _chunks(job: _Completions) -> AsyncGenerator[Completion, None]:
    reply = job.reply
    usage = None if reply.include_usage else UNSET
    started: set[int] = set()
    async with aclosing(reply.deltas()) as deltas:
        async for delta in deltas:
            choice = _choice(job, delta.index, delta, first=delta.index not in started)
            started.add(delta.index)
            yield _completion(reply, [choice], usage)
    if reply.include_usage:
        yield _completion(reply, [], reply.count.usage)


def _choice(job: _Completions, index: int, part: Answer | Delta, *, first: bool) -> CompletionChoice:
    """One choice from the whole answer, or from a delta; the ``first`` one has what comes before the answer."""
    ids = bool(job.reply.body.return_token_ids)
    prompt = job.reply.job.prompts[index // job.reply.job.n]
    return CompletionChoice(
        index=index,
        text=job.echo(index) + part.text if first else part.text,
        logprobs=_logprobs(job, index, part, first=first),
        finish_reason=part.finish_reason,
        stop_reason=part.stop_reason,
        token_ids=part.token_ids if ids else UNSET,
        prompt_token_ids=prompt if ids and first else UNSET,
    )


def _logprobs(job: _Completions, index: int, part: Answer | Delta, *, first: bool) -> CompletionLogprobs | None:
    wanted = job.reply.job.params.logprobs
    if wanted is None:
        return None
    tokenizer = job.reply.state.model.tokenizer
    text = job.echo(index)
    answer = completion_logprobs(tokenizer, part.logprobs, len(text), wanted)
    if not first or job.reply.job.params.prompt_logprobs is None:
        return answer
    prompt = job.reply.job.prompts[index // job.reply.job.n]
    return with_prompt(tokenizer, prompt, part.prompt_logprobs, text, answer)


def _completion(reply: Reply, choices: list[CompletionChoice], usage: Usage | UnsetType | None) -> Completion:
    return Completion(
        id=reply.job.id,
        created=reply.created,
        model=reply.state.model.id,
        system_fingerprint=reply.state.model.fingerprint,
        choices=choices,
        usage=usage,
    )
