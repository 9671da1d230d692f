"""One admitted request: its job, what every body of its answer repeats, and the count of its tokens."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from msgspec import UNSET, UnsetType

from llmrt.engine.request import SamplingParams, TokenLogprob
from llmrt.errors import RequestError
from llmrt.server.choice import Delta
from llmrt.server.exchange import TokenCount
from llmrt.server.extra_fields import check_extra_fields, ignored_header
from llmrt.server.generation import Job, run
from llmrt.server.logprobs import prompt_logprobs
from llmrt.server.prompt_log import note_prompts
from llmrt.server.responses import CachedTokens, PromptLogprobs, ReasoningTokens, Usage
from llmrt.server.sampling import fit_max_tokens
from llmrt.server.schemas import GenerationBody
from llmrt.server.state import ServerState
from llmrt.text.answer_format import PLAIN, AnswerFormat


@dataclass
class UsageCount:
    """Counts while deltas pass. A prompt with several choices counts once, cached tokens as for its first."""

    job: Job
    tokens: TokenCount
    reasoning_tokens: dict[int, int] = field(default_factory=dict[int, int])
    cached_tokens: dict[int, CachedTokens] = field(default_factory=dict[int, CachedTokens])

    def add(self, delta: Delta) -> None:
        """Count one delta."""
        self.tokens.completion_tokens += len(delta.token_ids)
        self.reasoning_tokens[delta.index] = delta.num_reasoning_tokens
        if delta.index % self.job.n == 0:
            cached = CachedTokens(delta.num_cached_tokens, delta.num_disk_tokens, delta.diverged_at)
            self.cached_tokens[delta.index] = cached

    @property
    def usage(self) -> Usage:
        """The count so far."""
        prompt, completion = self.tokens.prompt_tokens, self.tokens.completion_tokens
        reasoning = ReasoningTokens(sum(self.reasoning_tokens.values()))
        return Usage(prompt, completion, prompt + completion, self._cached, reasoning)

    @property
    def _cached(self) -> CachedTokens:
        prompts = list(self.cached_tokens.values())
        if len(prompts) == 1:
            return prompts[0]
        return CachedTokens(sum(each.cached_tokens for each in prompts), sum(each.disk_tokens for each in prompts))


@dataclass(frozen=True)
class Reply:
    """What the response bodies of one request are made from. ``count`` is complete after ``deltas``."""

    state: ServerState
    body: GenerationBody
    job: Job
    count: UsageCount
    headers: dict[str, str]
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        options = self.body.stream_options
        return options is not None and bool(options.include_usage)

    def deltas(self) -> AsyncGenerator[Delta, None]:
        """Run the job, counting what it gives."""
        return run(self.state.engine, self.state.model.tokenizer, self.job, self.count.add)


def check_body(state: ServerState, body: GenerationBody) -> list[str]:
    """The names of fields that have no effect. Raises for what can be refused before the prompt is looked at: no
    engine, or a wrong field.
    """
    state.engine.check_ready()
    state.admit(1)
    ignored = check_extra_fields(body)
    if body.prompt_logprobs is not None and body.stream:
        raise RequestError("prompt_logprobs does not go with stream: true.", param="prompt_logprobs")
    if body.stream_options is not None and not body.stream:
        raise RequestError("stream_options needs stream: true.", param="stream_options")
    return ignored


def admit(
    state: ServerState,
    body: GenerationBody,
    prompts: Sequence[list[int]],
    params: SamplingParams,
    *,
    id_prefix: str,
    max_tokens: int | None,
    strip_leading_space: bool = False,
    report_all: bool = False,
    answer: AnswerFormat = PLAIN,
    unused: Sequence[str] = (),
) -> Reply:
    """Turn a checked body into a job. ``answer`` is how its text is read, ``report_all`` of its log-probabilities is
    that of ``Choice``, and ``unused`` are fields that have no effect.

    Raises ``RequestError`` for values that cannot be served and ``OverloadedError`` when the queue is full.
    """
    if max_tokens is not None and (body.min_tokens or 0) > max_tokens:
        raise RequestError(f"min_tokens is {body.min_tokens}; max_tokens is only {max_tokens}.", param="min_tokens")
    context = state.engine.info.context_length
    fitted = [fit_max_tokens(len(prompt), max_tokens, context, param=body.prompt_field) for prompt in prompts]
    job = Job(
        id=f"{id_prefix}{uuid.uuid4().hex}",
        prompts=list(prompts),
        max_tokens=fitted,
        params=params,
        n=body.n or 1,
        stop=body.stop,
        strip_leading_space=strip_leading_space and state.model.tokenizer.strips_leading_space,
        answer=answer,
        adapter=state.adapter,
        report_all=report_all,
        show_special=body.skip_special_tokens is False,
        show_stop=body.include_stop_str_in_output is True,
    )
    state.admit(job.num_choices)
    count = UsageCount(job, note_prompts(state, job.prompts))
    headers = ignored_header(unused) | _clamp_header(fitted, max_tokens)
    return Reply(state, body, job, count, headers)


def asked_prompt_logprobs(reply: Reply, logprobs: Sequence[TokenLogprob]) -> PromptLogprobs | UnsetType:
    """The field of the whole answer, if the body asks for it."""
    if reply.body.prompt_logprobs is None:
        return UNSET
    return prompt_logprobs(reply.state.model.tokenizer, logprobs)


def _clamp_header(fitted: Sequence[int | None], asked: int | None) -> dict[str, str]:
    """``x-llmrt-clamped`` where the context leaves less than was asked for; the least of several prompts."""
    least = min((limit for limit in fitted if limit is not None), default=None)
    return {} if least == asked else {"x-llmrt-clamped": f"max_tokens={least}"}
