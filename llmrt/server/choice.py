"""One answer while it comes: its tokens become text, and that becomes content, thoughts and calls of tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from msgspec import Struct

from llmrt.engine.request import RequestOutput, TokenLogprob
from llmrt.server.responses import FinishReason
from llmrt.text.answer_format import AnswerFormat
from llmrt.text.answer_parts import Arguments, CallEnd, CallStart, Content, Part, Reasoning
from llmrt.text.detokenizer import Detokenizer
from llmrt.text.stop_strings import StopStrings
from llmrt.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ReportedToken:
    """A token of the text: the character it begins at, its bytes in the text, and its log-probability."""

    offset: int
    data: bytes
    logprob: TokenLogprob


@dataclass(frozen=True)
class CallDelta:
    """The beginning of call ``index``, which has an id and a name, or more of its arguments."""

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None


Kind = Literal["reasoning", "text", "call"]


class Delta(Struct, frozen=True, kw_only=True):
    """What a choice gained, of one kind: thoughts, content, which is ``text``, or calls. The last may be of none.

    ``logprobs`` are of the tokens that begin in the content given out so far, each once; of all tokens where the
    choice reports all. ``prompt_logprobs`` come with the first delta. ``stop_reason`` is the stop string that ended
    the choice, None where anything else did. ``num_cached_tokens``, ``num_disk_tokens`` and ``diverged_at`` are of
    the prompt, ``num_reasoning_tokens`` of the whole answer so far.
    """

    index: int
    text: str
    reasoning: str
    calls: list[CallDelta]
    token_ids: list[int]
    logprobs: list[ReportedToken]
    prompt_logprobs: list[TokenLogprob]
    finish_reason: FinishReason | None
    stop_reason: str | None
    num_cached_tokens: int
    num_disk_tokens: int
    diverged_at: int | None
    num_reasoning_tokens: int


class Choice:
    """The state of one answer between engine outputs; once it is ``finished``, later outputs are no part of it.

    With ``report_all`` the log-probabilities of all its tokens are reported, also of those without text. With
    ``show_special`` special tokens have their names as text, but for one that ends the answer; with ``show_stop`` that
    one too is part of it, and so is a stop string.
    """

    def __init__(
        self,
        index: int,
        tokenizer: Tokenizer,
        answer: AnswerFormat,
        *,
        stop: Sequence[str],
        stop_token_ids: frozenset[int],
        strip_leading_space: bool,
        report_all: bool = False,
        show_special: bool = False,
        show_stop: bool = False,
    ) -> None:
        self.finished = False
        self._index = index
        self._tokenizer = tokenizer
        self._stop_token_ids = stop_token_ids
        self._show_special = show_special
        self._show_stop = show_stop
        self._detokenizer = Detokenizer(
            tokenizer,
            skip_special_tokens=not show_special,
            visible=answer.visible,
            strip_leading_space=strip_leading_space,
        )
        self._parser = answer.parser()
        self._lead = b" " if strip_leading_space else b""
        self._num_tokens = 0
        self._num_reasoning_tokens = 0
        self._content = _ContentText(StopStrings(stop, include=show_stop))
        self._report_all = report_all
        # Of the next delta.
        self._kind: Kind = "text"
        self._text = ""
        self._reasoning = ""
        self._calls = _Calls(answer)
        self._token_ids: list[int] = []
        self._reported: list[ReportedToken] = []
        self._prompt_logprobs: list[TokenLogprob] = []

    def advance(self, output: RequestOutput) -> list[Delta]:
        """What ``output`` adds, in the order of the answer; nothing while nothing can be shown."""
        if output.finish_reason == "error":
            raise output.failure()
        assert output.finish_reason != "abort"  # only the server aborts, and then it does not look back
        self._prompt_logprobs += output.prompt_logprobs
        deltas = [*self._push(output)]
        if output.finish_reason is not None and not self._is_cut:
            parts = [*self._parser.push(self._detokenizer.finish()), *self._parser.finish()]
            deltas += self._take(parts, output)
            self._text += self._content.finish()
        reason = self._finish_reason(output)
        self.finished = reason is not None
        if self._has_gained or self.finished:
            deltas.append(self._delta(output, reason))
        return deltas

    @property
    def _is_cut(self) -> bool:
        """Whether the answer is over, whatever else the model says."""
        return self._content.stopped is not None or self._calls.complete

    @property
    def _has_gained(self) -> bool:
        return bool(self._text or self._reasoning or self._calls.new)

    def _push(self, output: RequestOutput) -> Iterator[Delta]:
        """Go token by token, so that those behind a stop string do not count; the deltas that are whole."""
        for position, token_id in enumerate(output.token_ids):
            if self._is_cut:
                break
            self._num_tokens += 1
            self._token_ids.append(token_id)
            ends = token_id in self._stop_token_ids and output.finish_reason == "stop" and not self._show_stop
            piece = "" if ends else self._detokenizer.push([token_id])
            if output.logprobs is not None:
                self._report(output.logprobs[position], ends=ends)
            if ends:
                break  # like a stop string, a token that ends the answer is no part of it
            yield from self._take(self._parser.push(piece), output)

    def _report(self, logprob: TokenLogprob, *, ends: bool) -> None:
        has_text = not ends and (self._show_special or not self._tokenizer.is_special(logprob.token_id))
        if not has_text and not self._report_all:
            return
        data = self._tokenizer.token_bytes(logprob.token_id).removeprefix(self._lead)
        self._lead = b""
        offset = self._detokenizer.num_decoded if ends else self._detokenizer.token_offsets[-1]
        token = ReportedToken(offset, data, logprob)
        if self._report_all:
            self._reported.append(token)
        else:
            self._content.report(token)

    def _take(self, parts: Sequence[Part], output: RequestOutput) -> Iterator[Delta]:
        """Sort ``parts``; one of another kind than those before ends their delta."""
        for part in parts:
            if self._is_cut:
                break
            if (kind := _kind(part)) != self._kind:
                self._text += self._content.finish()
                if self._is_cut:
                    break
                if self._has_gained:
                    yield self._delta(output)
                self._kind = kind
            if isinstance(part, Content):
                self._text += self._content.add(part)
            elif isinstance(part, Reasoning):
                self._reasoning += part.text
                self._num_reasoning_tokens = self._num_tokens
            else:
                self._calls.add(part)

    def _finish_reason(self, output: RequestOutput) -> FinishReason | None:
        """``tool_calls`` for an answer that calls, unless its end was cut off."""
        reason = "stop" if self._is_cut else output.finish_reason
        assert reason not in ("abort", "error")
        return "tool_calls" if reason == "stop" and self._calls.count else reason

    def _delta(self, output: RequestOutput, finish_reason: FinishReason | None = None) -> Delta:
        delta = Delta(
            index=self._index,
            text=self._text,
            reasoning=self._reasoning,
            calls=self._calls.new,
            token_ids=self._token_ids,
            logprobs=self._reported if self._report_all else self._content.take_reported(),
            prompt_logprobs=self._prompt_logprobs,
            finish_reason=finish_reason,
            stop_reason=self._content.stopped,
            num_cached_tokens=output.num_cached_tokens,
            num_disk_tokens=output.num_disk_tokens,
            diverged_at=output.diverged_at,
            num_reasoning_tokens=self._num_reasoning_tokens,
        )
        self._text, self._reasoning, self._calls.new = "", "", []
        self._token_ids, self._reported, self._prompt_logprobs = [], [], []
        return delta


def _kind(part: Part) -> Kind:
    if isinstance(part, Content):
        return "text"
    return "reasoning" if isinstance(part, Reasoning) else "call"


class _ContentText:
    """The content, up to a stop string, and the tokens that begin in it. No stop string reaches across other parts."""

    def __init__(self, stop: StopStrings) -> None:
        self._stop = stop
        self._num_added = 0
        self._num_given = 0
        self._waiting: list[ReportedToken] = []  # their offsets are the answer's
        self._placed: list[ReportedToken] = []  # and these ones' the content's

    @property
    def stopped(self) -> str | None:
        return self._stop.stopped

    def report(self, token: ReportedToken) -> None:
        self._waiting.append(token)

    def add(self, part: Content) -> str:
        """The content that ``part`` makes certain. Tokens that began before it are of something else."""
        end = part.start + len(part.text)
        for token in self._waiting:
            if part.start <= token.offset < end:
                self._placed.append(replace(token, offset=self._num_added + token.offset - part.start))
        self._waiting = [token for token in self._waiting if token.offset >= end]
        self._num_added += len(part.text)
        return self._give(self._stop.push(part.text))

    def finish(self) -> str:
        """What was withheld, where no more content can follow directly."""
        return self._give(self._stop.finish())

    def take_reported(self) -> list[ReportedToken]:
        """The tokens that begin in what was given out, each once."""
        given = [token for token in self._placed if token.offset < self._num_given]
        self._placed = self._placed[len(given) :]
        return given

    def _give(self, text: str) -> str:
        self._num_given += len(text)
        return text


class _Calls:
    """The calls so far; ``new`` are those of the next delta."""

    def __init__(self, answer: AnswerFormat) -> None:
        self.count = 0
        self.complete = False
        self.new: list[CallDelta] = []
        self._answer = answer

    def add(self, part: CallStart | Arguments | CallEnd) -> None:
        match part:
            case CallStart():
                assert self._answer.tools is not None
                self.new.append(CallDelta(self.count, id=self._answer.tools.call_id(), name=part.name))
                self.count += 1
            case Arguments():
                self._extend(part.text)
            case CallEnd():
                self.complete = not self._answer.many

    def _extend(self, arguments: str) -> None:
        """Pieces that come at once are one; the beginning of a call has none."""
        last = self.new[-1] if self.new else None
        if last is not None and last.id is None:
            self.new[-1] = replace(last, arguments=last.arguments + arguments)
        else:
            self.new.append(CallDelta(self.count - 1, arguments))
