"""From token ids to the text of every choice: submit, detokenize, look for stop strings, stop the engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from llmrt.engine.messages import Submit
from llmrt.engine.request import RequestOutput, SamplingParams, TokenLogprob
from llmrt.errors import LlmrtError, RequestError
from llmrt.server.engine_client import EngineClient
from llmrt.server.responses import FinishReason
from llmrt.server.sampling import with_seed
from llmrt.text.detokenizer import Detokenizer
from llmrt.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Job:
    """``n`` answers to each prompt; choice ``i`` answers prompt ``i // n``. ``max_tokens`` is one a prompt."""

    id: str
    prompts: list[list[int]]
    max_tokens: list[int | None]
    params: SamplingParams
    n: int
    stop: tuple[str, ...]
    strip_leading_space: bool

    @property
    def num_choices(self) -> int:
        """Answers in all."""
        return len(self.prompts) * self.n

    def submits(self) -> list[Submit]:
        """One engine request a choice, in the order of the choices."""
        return [
            Submit(f"{self.id}-{prompt * self.n + i}", token_ids, with_seed(params, i))
            for prompt, token_ids in enumerate(self.prompts)
            for params in [replace(self.params, max_tokens=self.max_tokens[prompt])]
            for i in range(self.n)
        ]


@dataclass(frozen=True)
class ReportedToken:
    """A token of the text: the character it begins at, its bytes in the text, and its log-probability."""

    offset: int
    data: bytes
    logprob: TokenLogprob


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What a choice gained. ``logprobs`` are those of the tokens that begin in the text given out so far.

    ``stop_reason`` is the stop string that ended the choice, None where anything else did.
    """

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[ReportedToken]
    finish_reason: FinishReason | None
    stop_reason: str | None
    num_cached_tokens: int


@dataclass
class Answer:
    """A whole choice: its deltas put together."""

    text: str = ""
    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[ReportedToken] = field(default_factory=list[ReportedToken])
    finish_reason: FinishReason = "length"
    stop_reason: str | None = None


async def run(engine: EngineClient, tokenizer: Tokenizer, job: Job) -> AsyncGenerator[Delta, None]:
    """The deltas of all choices as they come; the last of each has a ``finish_reason``.

    Closing the generator aborts what is unfinished. Raises ``EngineDeadError`` when the engine dies,
    ``RequestError`` for a request that it refuses and ``LlmrtError`` for one that it fails to finish.
    """
    submits = job.submits()
    choices = {submit.request_id: _Choice(i, tokenizer, job) for i, submit in enumerate(submits)}
    async with aclosing(engine.generate(submits)) as outputs:
        async for output in outputs:
            choice = choices[output.request_id]
            if choice.finished:
                continue  # it had a stop string: what the engine computed beyond is nobody's
            delta = choice.advance(output)
            if choice.finished and output.finish_reason is None:
                engine.abort(output.request_id)
            if delta is not None:
                yield delta


async def collect(deltas: AsyncIterable[Delta], num_choices: int) -> list[Answer]:
    """Wait for every choice to finish."""
    answers = [Answer() for _ in range(num_choices)]
    async for delta in deltas:
        answer = answers[delta.index]
        answer.text += delta.text
        answer.token_ids += delta.token_ids
        answer.logprobs += delta.logprobs
        if delta.finish_reason is not None:
            answer.finish_reason, answer.stop_reason = delta.finish_reason, delta.stop_reason
    return answers


class _Choice:
    """The state of one answer between engine outputs."""

    def __init__(self, index: int, tokenizer: Tokenizer, job: Job) -> None:
        self.finished = False
        self._index = index
        self._tokenizer = tokenizer
        self._stop_token_ids = job.params.stop_token_ids
        self._detokenizer = Detokenizer(tokenizer, stop=job.stop, strip_leading_space=job.strip_leading_space)
        self._lead = b" " if job.strip_leading_space else b""
        self._num_tokens = 0
        self._num_chars = 0
        self._token_ids: list[int] = []  # of the next delta
        self._logprobs: list[ReportedToken] = []  # of tokens whose text is withheld

    def advance(self, output: RequestOutput) -> Delta | None:
        """What ``output`` adds; None while nothing can be shown."""
        if output.finish_reason == "error":
            raise self._failure(output.error or "The engine could not compute this request.")
        assert output.finish_reason != "abort"  # only this module aborts, and then it does not look back
        text = self._push(output)
        if output.finish_reason is not None:
            text += self._detokenizer.finish()
        reason = "stop" if self._detokenizer.stopped is not None else output.finish_reason
        self.finished = reason is not None
        return self._delta(text, reason, output.num_cached_tokens) if text or self.finished else None

    def _push(self, output: RequestOutput) -> str:
        """Detokenize token by token, so that those behind a stop string do not count."""
        text = ""
        for position, token_id in enumerate(output.token_ids):
            if self._detokenizer.stopped is not None:
                break
            self._num_tokens += 1
            self._token_ids.append(token_id)
            if token_id in self._stop_token_ids and output.finish_reason == "stop":
                break  # like a stop string, a token that ends the answer is no part of it
            text += self._detokenizer.push([token_id])
            if output.logprobs is not None and not self._tokenizer.is_special(token_id):
                self._report(output.logprobs[position])
        return text

    def _report(self, logprob: TokenLogprob) -> None:
        data = self._tokenizer.token_bytes(logprob.token_id).removeprefix(self._lead)
        self._lead = b""
        self._logprobs.append(ReportedToken(self._detokenizer.token_offsets[-1], data, logprob))

    def _delta(self, text: str, finish_reason: FinishReason | None, num_cached_tokens: int) -> Delta:
        self._num_chars += len(text)
        shown = [token for token in self._logprobs if token.offset < self._num_chars]
        token_ids = self._token_ids
        self._logprobs, self._token_ids = self._logprobs[len(shown) :], []
        return Delta(
            index=self._index,
            text=text,
            token_ids=token_ids,
            logprobs=shown,
            finish_reason=finish_reason,
            stop_reason=self._detokenizer.stopped,
            num_cached_tokens=num_cached_tokens,
        )

    def _failure(self, message: str) -> LlmrtError:
        return LlmrtError(message) if self._num_tokens else RequestError(message)
