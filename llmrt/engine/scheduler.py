"""Which requests compute how many tokens in the next step. Free of torch.

There are no phases: a step is ``{request: num_tokens}``. Prefill, a chunk of it, what is left after a prefix hit
and decode differ in the number alone. Each step

1. gives one token to every request that is decoding, so that no prompt stops the others' answers;
2. shares the rest of the token budget evenly between the prompts, the shortest first, so that a short one
   beside a long one starts soon and the long one never starves;
3. preempts the youngest request when blocks run out: its blocks are freed and its tokens computed again later.

Where results come a step late (``run_ahead.py``), ``advance`` and ``settle`` are called in the place of ``update``: a
request counts what was launched as computed and has ``PENDING`` for its last token while the next step is scheduled.
Where a step of prompts takes its time (``interleave.py``), steps without prompts are scheduled meanwhile.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmrt.engine.kv.manager import KVCacheManager
from llmrt.engine.recent_prompts import RecentPrompts
from llmrt.engine.request import PENDING, EndReason, Request, RequestOutput, TokenLogprob, failed
from llmrt.errors import RequestError


@dataclass(slots=True)  # not frozen, as ``RequestOutput``
class SampledToken:
    """The token that a step chose for a request, after those of its draft that were ``accepted``, being the same.

    With an ``error`` there was none to choose.
    """

    token_id: int
    logprob: TokenLogprob | None = None
    accepted: tuple[SampledToken, ...] = ()
    error: str | None = None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The accepted ones and this one."""
        return (*[token.token_id for token in self.accepted], self.token_id) if self.accepted else (self.token_id,)

    @property
    def logprobs(self) -> tuple[TokenLogprob, ...] | None:
        """One for each of ``token_ids``, if they were asked for."""
        if self.logprob is None:
            return None
        return (*[token.logprob for token in self.accepted if token.logprob], self.logprob)


@dataclass(frozen=True)
class PromptEnd:
    """A step completed a request that ends with its prompt; the ``vector`` of one with pooling, little-endian fp32."""

    vector: bytes | None = None


# What a step gives a request whose last known token it computes.
StepResult = SampledToken | PromptEnd

# How many tokens of each request a step computes. Those that decode come first, with one and those of their drafts.
SchedulerOutput = dict[Request, int]


def all_decode(scheduled: SchedulerOutput) -> bool:
    """Whether every request of a step, of which there are some, decodes."""
    return next(reversed(scheduled)).is_decoding


class Scheduler:
    """Owns the waiting and the running requests; ``kv`` owns their blocks."""

    def __init__(
        self, kv: KVCacheManager, *, max_num_seqs: int, max_num_batched_tokens: int, context_length: int
    ) -> None:
        assert max_num_batched_tokens >= max_num_seqs, "every decoding request takes a token of each step"
        self.kv = kv
        self.context_length = context_length
        self.num_preemptions = 0
        self.num_computed_tokens = 0  # so far, of all requests
        self._max_num_seqs = max_num_seqs
        self._max_num_batched_tokens = max_num_batched_tokens
        self._waiting: deque[Request] = deque()
        self._running: dict[Request, None] = {}  # oldest first
        self._by_id: dict[str, Request] = {}
        self._recent = RecentPrompts()

    @property
    def requests(self) -> Iterable[Request]:
        """All that wait or take part in steps."""
        return self._by_id.values()

    @property
    def num_waiting(self) -> int:
        """Requests that hold no blocks yet, or no longer."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Requests that take part in steps."""
        return len(self._running)

    @property
    def has_requests(self) -> bool:
        """Whether any are here."""
        return bool(self._by_id)

    @property
    def decoding(self) -> list[Request]:
        """Requests that take part in steps and whose prompts are computed."""
        return [request for request in self._running if request.is_decoding]

    @property
    def has_prompts(self) -> bool:
        """Whether prompts or vectors are computed for some of the requests that take part in steps."""
        return not all(request.is_decoding or request.is_loading for request in self._running)

    def add(self, request: Request) -> None:
        """Queue ``request``."""
        assert request.request_id not in self._by_id
        assert request.num_prompt_tokens < self.context_length + request.ends_with_prompt
        most, room = request.params.max_tokens, self.context_length - request.num_prompt_tokens
        request.max_length = request.num_prompt_tokens + (room if most is None else min(most, room))
        self._by_id[request.request_id] = request
        self._waiting.append(request)

    def abort(self, request_id: str) -> None:
        """Forget the request and free its blocks; one that is unknown may just have ended, and is no error."""
        request = self._by_id.get(request_id)
        if request is not None:
            self._remove(request)

    def schedule(self, prompt_tokens: int | None = None) -> SchedulerOutput:
        """Choose the next step's tokens and hold the blocks that they are written to.

        ``prompt_tokens`` of prompts at most: none while a step with prompts is under way.
        """
        self._admit()
        scheduled: SchedulerOutput = {}
        prompts: list[Request] = []
        for request in list(self._running):
            if request.is_decoding:
                if not _is_full(request):
                    self._schedule_decode(request, scheduled)
            elif not request.is_loading:
                prompts.append(request)
        budget = max(0, self._max_num_batched_tokens - sum(scheduled.values()))
        self._schedule_prompts(prompts, budget if prompt_tokens is None else min(budget, prompt_tokens), scheduled)
        can_go_on = scheduled or prompt_tokens == 0 or all(_is_full(r) or r.is_loading for r in self._running)
        assert can_go_on, "the pool holds a full context"
        return scheduled

    def advance_disk(self) -> None:
        """Copy blocks from and to the disk for a moment, and wait for them if there is nothing else to do."""
        lost = self.kv.advance_disk(wait=all(request.is_loading for request in self._running))
        if lost is not None:
            self._put_back(lost)

    def is_running(self, request: Request) -> bool:
        """Whether it still has the blocks that its last step was scheduled with."""
        return request in self._running

    def update(self, scheduled: SchedulerOutput, results: Mapping[Request, StepResult]) -> list[RequestOutput]:
        """Account for a step that was executed: computed tokens, chosen tokens, finished requests."""
        outputs: list[RequestOutput] = []
        for request, num_tokens in scheduled.items():
            result = results.get(request)
            self._mark_computed(request, num_tokens - _end_draft(request, result))
            if result is None:
                continue
            assert request.num_uncomputed_tokens == 0, "a token is chosen when all before it are computed"
            if isinstance(result, SampledToken):
                request.token_ids.append(result.token_id)
            outputs.append(self._output(request, result))
        return outputs

    def advance(self, scheduled: SchedulerOutput) -> None:
        """Account for a step that was launched: what it computes, and a pending token where it chooses one.

        The step before it is settled, so that all tokens of this one are known.
        """
        for request, num_tokens in scheduled.items():
            if request in self._running:
                self._mark_computed(request, num_tokens)
                if request.num_uncomputed_tokens == 0 and not request.ends_with_prompt:
                    request.token_ids.append(PENDING)

    def settle(self, results: Mapping[Request, StepResult]) -> list[RequestOutput]:
        """Account for what came of a step that was launched earlier.

        What it computed for a request that ended meanwhile, or was aborted, is dropped. Its blocks are free already;
        whoever writes to them next does so after that step.
        """
        outputs: list[RequestOutput] = []
        for request, result in results.items():
            if self._by_id.get(request.request_id) is not request:
                continue
            if isinstance(result, SampledToken):
                assert request.token_ids[-1] == PENDING
                request.token_ids[-1] = result.token_id
            outputs.append(self._output(request, result))
        return outputs

    def check_integrity(self) -> None:
        """Assert that requests and blocks agree."""
        assert set(self._by_id.values()) == {*self._waiting, *self._running}
        assert all(not r.block_table and r.num_computed_tokens == 0 for r in self._waiting)
        self.kv.check_integrity(self._running)

    def _admit(self) -> None:
        """Move waiting requests to the running ones, in order, while their prompts fit beside what is there.

        Those that wait for a prefix of another let the ones behind them pass.
        """
        for request in [*self._waiting]:
            if len(self._running) == self._max_num_seqs:
                return
            needed = self.kv.peak_blocks(len(request.token_ids) + 1, self._max_num_batched_tokens)
            if self._running and needed > self.kv.num_free_blocks:
                return
            if not request.needs_all_rows and not self.kv.start_from_cache(request):
                continue
            self.kv.announce(request)
            self._waiting.remove(request)
            self._running[request] = None
            if not request.queue_seconds:  # it was not here before
                request.queue_seconds = time.monotonic() - request.arrived
                self._compare_with_recent(request)

    def _compare_with_recent(self, request: Request) -> None:
        if request.pooling is None:
            departure = max(request.num_cached_tokens, self._recent.departure(request.token_ids, request.cache_salt))
            request.diverged_at = None if departure == request.num_prompt_tokens else departure
            self._recent.note(request.request_id, request.token_ids, request.cache_salt)

    def _schedule_prompts(self, prompts: list[Request], budget: int, scheduled: SchedulerOutput) -> None:
        """Share ``budget`` tokens between the prompts, the shortest first."""
        prompts.sort(key=_num_uncomputed)
        for i, request in enumerate(prompts):
            fair_share = -(-budget // (len(prompts) - i))
            self._schedule(request, min(fair_share, request.num_uncomputed_tokens), scheduled)
            budget -= scheduled.get(request, 0)

    def _schedule(self, request: Request, num_tokens: int, scheduled: SchedulerOutput) -> None:
        """Add the request to the step if it can have blocks, taking them from younger requests if need be."""
        if num_tokens == 0 or request not in self._running:  # preempted for a request before it
            return
        while not self.kv.allocate_slots(request, num_tokens):
            victim = next(reversed(self._running))
            self._preempt(victim)
            scheduled.pop(victim, None)
            if victim is request:
                return
        scheduled[request] = num_tokens

    def _schedule_decode(self, request: Request, scheduled: SchedulerOutput) -> None:
        """Add its last token to the step, and its draft if there are blocks for that without taking another's."""
        num_tokens = 1 + len(request.draft)
        if request in self._running and self.kv.allocate_slots(request, num_tokens):
            scheduled[request] = num_tokens
        else:
            request.draft = ()
            self._schedule(request, 1, scheduled)

    def _mark_computed(self, request: Request, num_tokens: int) -> None:
        self.kv.mark_computed(request, num_tokens)
        self.num_computed_tokens += num_tokens

    def _preempt(self, request: Request) -> None:
        self._put_back(request)
        self.num_preemptions += 1

    def _put_back(self, request: Request) -> None:
        del self._running[request]
        self.kv.free(request)
        request.draft = ()
        self._waiting.appendleft(request)

    def _output(self, request: Request, result: StepResult) -> RequestOutput:
        """What the request gained, the last token of which may be its end."""
        if not isinstance(result, SampledToken):
            self._remove(request)
            return _request_output(request, "length" if result.vector is None else "stop", vector=result.vector)
        if (failure := _failure(request, result)) is not None:
            self._remove(request)
            return failed(request.request_id, RequestError(failure))
        finish_reason = _finish_reason(request, result)
        if finish_reason is not None:
            self._remove(request)
        elif request.constraint is not None:
            request.constraint.advance(result.token_id)
        return _request_output(request, finish_reason, result.token_ids, result.logprobs)

    def _remove(self, request: Request) -> None:
        del self._by_id[request.request_id]
        if request in self._running:
            del self._running[request]
            self.kv.free(request)
            self._note_answer(request)
        else:
            self._waiting.remove(request)

    def _note_answer(self, request: Request) -> None:
        if request.pooling is None:
            known = [token for token in request.token_ids if token != PENDING]
            self._recent.note(request.request_id, known, request.cache_salt)


def _end_draft(request: Request, result: StepResult | None) -> int:
    """Make the accepted tokens of its draft the request's; returns how many others there were, to be forgotten."""
    if not request.draft:
        return 0
    accepted = result.accepted if isinstance(result, SampledToken) else ()
    request.token_ids += [token.token_id for token in accepted]
    num_refused = len(request.draft) - len(accepted)
    request.draft = ()
    return num_refused


def _failure(request: Request, token: SampledToken) -> str | None:
    """Why the request has no token, or none that follows its grammar."""
    failure = None if request.constraint is None else request.constraint.failure
    return failure or token.error


def _finish_reason(request: Request, token: SampledToken) -> EndReason | None:
    """Why the request ends with ``token``, None if it goes on."""
    if token.token_id in request.params.stop_token_ids:
        return "stop"
    return "length" if _is_full(request) else None


def _request_output(
    request: Request,
    finish_reason: EndReason | None,
    token_ids: tuple[int, ...] = (),
    logprobs: tuple[TokenLogprob, ...] | None = None,
    vector: bytes | None = None,
) -> RequestOutput:
    """What a step gave to the request, and what of its prompt was not given out yet."""
    of_prompt, request.prompt_logprobs = request.prompt_logprobs, []
    # By position: for names Python takes two and a half times as long, and each step makes one for each request.
    output = RequestOutput(
        request.request_id,
        token_ids,
        finish_reason,
        logprobs,
        tuple(of_prompt),
        request.num_cached_tokens,
        request.num_disk_tokens,
        request.diverged_at,
        request.queue_seconds,
    )
    output.embedding = vector
    return output


def _is_full(request: Request) -> bool:
    """Whether the request can have no more tokens; it is still here if the last one is pending."""
    return len(request.token_ids) == request.max_length


def _num_uncomputed(request: Request) -> int:
    return request.num_uncomputed_tokens
