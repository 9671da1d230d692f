"""All choices of one request: submitted together, and stopped in the engine when their text is over."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from llmrt.engine.messages import Submit
from llmrt.engine.request import SamplingParams, TokenLogprob
from llmrt.server.choice import CallDelta, Choice, Delta, ReportedToken
from llmrt.server.engine_client import EngineClient
from llmrt.server.responses import FinishReason
from llmrt.server.sampling import with_seed
from llmrt.server.shared_scores import SharedScores
from llmrt.text.answer_format import PLAIN, AnswerFormat
from llmrt.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Job:
    """``n`` answers to each prompt; choice ``i`` answers prompt ``i // n``. ``max_tokens`` has a limit for each prompt,
    which is 0 where only the prompt is of interest.

    ``stop`` strings are looked for in the content that ``answer`` finds, not in thoughts or calls. ``report_all``,
    ``show_special`` and ``show_stop``: see ``Choice``.
    """

    id: str
    prompts: list[list[int]]
    max_tokens: list[int | None]
    params: SamplingParams
    n: int
    stop: tuple[str, ...]
    strip_leading_space: bool
    answer: AnswerFormat = PLAIN
    adapter: str | None = None
    report_all: bool = False
    show_special: bool = False
    show_stop: bool = False

    @property
    def num_choices(self) -> int:
        """Answers in all."""
        return len(self.prompts) * self.n

    def submits(self) -> list[Submit]:
        """One engine request a choice, in the order of the choices."""
        return [
            Submit(f"{self.id}-{prompt * self.n + i}", token_ids, self._params(prompt, i), adapter=self.adapter)
            for prompt, token_ids in enumerate(self.prompts)
            for i in range(self.n)
        ]

    def _params(self, prompt: int, i: int) -> SamplingParams:
        """Those of the choice ``i`` of a prompt, which is reported on for the first one alone."""
        of_prompt = self.params.prompt_logprobs if i == 0 else None
        return with_seed(replace(self.params, max_tokens=self.max_tokens[prompt], prompt_logprobs=of_prompt), i)


@dataclass
class Call:
    """A whole call of a tool."""

    id: str
    name: str
    arguments: str = ""


@dataclass
class Answer:
    """A whole choice: its deltas put together."""

    text: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list[Call])
    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[ReportedToken] = field(default_factory=list[ReportedToken])
    prompt_logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    finish_reason: FinishReason = "length"
    stop_reason: str | None = None


async def run(
    engine: EngineClient, tokenizer: Tokenizer, job: Job, note: Callable[[Delta], None]
) -> AsyncGenerator[Delta, None]:
    """The deltas of all choices as they come, of which ``note`` is told; the last of each has a ``finish_reason``.

    Closing the generator aborts what is unfinished. Raises ``EngineDeadError`` when the engine dies,
    ``RequestError`` for a request that it refuses and ``LlmrtError`` for one that it fails to finish.
    """
    submits = job.submits()
    scores = None if job.params.prompt_logprobs is None else SharedScores(job.n)
    choices = {submit.request_id: _choice(i, tokenizer, job) for i, submit in enumerate(submits)}
    async with aclosing(engine.generate(submits)) as outputs:
        async for output in outputs:
            choice = choices[output.request_id]
            if choice.finished:
                continue  # its text is over: what the engine computed beyond is nobody's
            deltas = choice.advance(output)
            if choice.finished and output.finish_reason is None:
                engine.abort(output.request_id)
            for delta in deltas:
                for shown in (delta,) if scores is None else scores.share(delta):
                    note(shown)
                    yield shown


async def collect(deltas: AsyncIterable[Delta], num_choices: int) -> list[Answer]:
    """Wait for every choice to finish."""
    answers = [Answer() for _ in range(num_choices)]
    async for delta in deltas:
        answer = answers[delta.index]
        answer.text += delta.text
        answer.reasoning += delta.reasoning
        for call in delta.calls:
            add_call(answer.calls, call)
        answer.token_ids += delta.token_ids
        answer.logprobs += delta.logprobs
        answer.prompt_logprobs += delta.prompt_logprobs
        if delta.finish_reason is not None:
            answer.finish_reason, answer.stop_reason = delta.finish_reason, delta.stop_reason
    return answers


def _choice(index: int, tokenizer: Tokenizer, job: Job) -> Choice:
    return Choice(
        index,
        tokenizer,
        job.answer,
        stop=job.stop,
        stop_token_ids=job.params.stop_token_ids,
        strip_leading_space=job.strip_leading_space,
        report_all=job.report_all,
        show_special=job.show_special,
        show_stop=job.show_stop,
    )


def add_call(calls: list[Call], delta: CallDelta) -> None:
    """Put ``delta`` to the calls so far."""
    if delta.id is not None and delta.name is not None:
        calls.append(Call(delta.id, delta.name))
    calls[delta.index].arguments += delta.arguments
