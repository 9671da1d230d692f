"""Texts that the model continues, without a chat template: from a checked body to a reply, and to OpenAI's records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from llmrt.engine.request import SamplingParams
from llmrt.errors import RequestError
from llmrt.server.choice import Delta
from llmrt.server.generation import Answer, collect
from llmrt.server.logprobs import completion_logprobs, with_prompt
from llmrt.server.reply import Reply, admit, asked_prompt_logprobs, check_body
from llmrt.server.responses import Completion, CompletionChoice, CompletionLogprobs, Usage
from llmrt.server.sampling import check_ids, sampling_params
from llmrt.server.schemas import CompletionBody
from llmrt.server.state import ServerState
from llmrt.server.structured import body_grammar
from llmrt.text.gaps import gap_prompt

_DEFAULT_MAX_TOKENS = 16  # OpenAI's


@dataclass(frozen=True)
class Texts:
    """A reply, and the text that the answers to each prompt begin with."""

    reply: Reply
    echoes: list[str]

    def echo(self, index: int) -> str:
        """What the choice ``index`` begins with."""
        return self.echoes[index // self.reply.job.n]


async def admit_completion(state: ServerState, body: CompletionBody) -> Texts:
    """Check the body and encode its prompts; raises ``LlmrtError`` for what cannot be answered."""
    max_tokens = _DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    reply = await admit_text(state, body, max_tokens=max_tokens)
    return Texts(reply, [_echo(state, body, prompt) for prompt in body.prompt])


async def admit_text(
    state: ServerState, body: CompletionBody, *, max_tokens: int | None, unused: Sequence[str] = ()
) -> Reply:
    """The same for another dialect, which has no text that answers begin with."""
    ignored = check_body(state, body)
    if max_tokens == 0 and not body.echo and body.prompt_logprobs is None:
        raise RequestError("max_tokens is 0; without echo it must be at least 1.", param="max_tokens")
    echoed_logprobs = body.logprobs if body.echo else None
    if echoed_logprobs is not None and body.prompt_logprobs not in (None, echoed_logprobs):
        message = f"prompt_logprobs is {body.prompt_logprobs}; with echo it must be as many as logprobs."
        raise RequestError(message, param="prompt_logprobs")
    if body.best_of not in (None, 1, body.n):
        raise RequestError(f"best_of is {body.best_of}; it must be n, for no answers are dropped.", param="best_of")
    if body.suffix and (body.echo or not all(isinstance(prompt, str) for prompt in body.prompt)):
        raise RequestError("suffix goes with prompts of text and without echo.", param="suffix")
    prompts, params = await asyncio.to_thread(_prepare, state, body, echoed_logprobs)
    return admit(
        state,
        body,
        prompts,
        params,
        id_prefix="cmpl-",
        max_tokens=max_tokens,
        report_all=echoed_logprobs is not None,
        unused=[*unused, *ignored],
    )


async def whole_completion(texts: Texts) -> Completion:
    """Wait for the whole answer."""
    reply = texts.reply
    answers = await collect(reply.deltas(), reply.job.num_choices)
    choices = [_choice(texts, index, answer, first=True) for index, answer in enumerate(answers)]
    return _completion(reply, choices, reply.count.usage)


async def completion_chunks(texts: Texts) -> AsyncGenerator[Completion, None]:
    """The answer in chunks; the usage comes last."""
    reply = texts.reply
    usage = None if reply.include_usage else UNSET
    started: set[int] = set()
    async with aclosing(reply.deltas()) as deltas:
        async for delta in deltas:
            choice = _choice(texts, delta.index, delta, first=delta.index not in started)
            started.add(delta.index)
            yield _completion(reply, [choice], usage)
    if reply.include_usage:
        yield _completion(reply, [], reply.count.usage)


def _prepare(
    state: ServerState, body: CompletionBody, echoed_logprobs: int | None
) -> tuple[list[list[int]], SamplingParams]:
    """What takes milliseconds where texts are long, or words and biases many."""
    prompts = [_prompt_ids(state, body, prompt) for prompt in body.prompt]
    if not all(prompts):
        raise RequestError("The prompt is empty: it has no tokens.", param="prompt")
    grammar = body_grammar(body)
    return prompts, sampling_params(
        state, body, logprobs=body.logprobs, prompt_logprobs=echoed_logprobs, grammar=grammar
    )


def _prompt_ids(state: ServerState, body: CompletionBody, prompt: str | list[int]) -> list[int]:
    special = body.add_special_tokens is not False
    if isinstance(prompt, str) and body.suffix:
        return gap_prompt(state.model.tokenizer, prompt, body.suffix, add_special_tokens=special)
    if isinstance(prompt, str):
        return state.model.tokenizer.encode(prompt, add_special_tokens=special)
    check_ids(prompt, state.engine.info.vocab_size, "prompt")
    return prompt


def _echo(state: ServerState, body: CompletionBody, prompt: str | list[int]) -> str:
    if not body.echo:
        return ""
    if isinstance(prompt, str):
        return prompt
    return state.model.tokenizer.decode(prompt, skip_special_tokens=False)


def _choice(texts: Texts, index: int, part: Answer | Delta, *, first: bool) -> CompletionChoice:
    """One choice from the whole answer, or from a delta; the ``first`` one has what comes before the answer."""
    ids = bool(texts.reply.body.return_token_ids)
    prompt = texts.reply.job.prompts[index // texts.reply.job.n]
    return CompletionChoice(
        index=index,
        text=texts.echo(index) + part.text if first else part.text,
        logprobs=_logprobs(texts, index, part, first=first),
        finish_reason=part.finish_reason,
        stop_reason=part.stop_reason,
        token_ids=part.token_ids if ids else UNSET,
        prompt_token_ids=prompt if ids and first else UNSET,
        prompt_logprobs=asked_prompt_logprobs(texts.reply, part.prompt_logprobs),
    )


def _logprobs(texts: Texts, index: int, part: Answer | Delta, *, first: bool) -> CompletionLogprobs | None:
    wanted = texts.reply.job.params.logprobs
    if wanted is None:
        return None
    tokenizer = texts.reply.state.model.tokenizer
    text = texts.echo(index)
    answer = completion_logprobs(tokenizer, part.logprobs, len(text), wanted)
    if not first or not texts.reply.job.report_all:
        return answer
    prompt = texts.reply.job.prompts[index // texts.reply.job.n]
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
