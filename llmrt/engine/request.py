"""What is asked of the engine and what it answers, token by token. Free of torch."""

from __future__ import annotations

import secrets
import time
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Literal

from llmrt.errors import LlmrtError, RequestError
from llmrt.text.sampling_ranges import RANGES, Range

if TYPE_CHECKING:
    from llmrt.engine.sampling.constraint import Constraint

EndReason = Literal["stop", "length", "abort", "error"]
# How the final hidden states of a text become its vector: their mean, or the last one.
Pooling = Literal["mean", "last"]

MAX_LOGPROBS = 20
MAX_BIAS = 100.0
# Stands in ``Request.token_ids`` for a token that a step has chosen, or will, and that the host does not know yet.
PENDING = -1


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen, and when to stop.

    ``temperature`` 0 is greedy. ``top_k`` 0, ``top_p`` 1 and ``min_p`` 0 leave every token in. ``seed`` None
    draws a fresh one. ``max_tokens`` None runs to the end of the context, and with 0 the prompt alone is computed.
    ``logprobs`` is the number of alternatives reported beside the chosen token's log-probability, None for no report;
    ``prompt_logprobs`` is the same for the tokens of the prompt.
    ``stop_token_ids`` end an answer, the model's end-of-sequence tokens among them: the caller names them all. None of
    them is chosen before the answer has ``min_tokens``. Only ``allowed_token_ids`` are chosen, if there are any, and
    none that completes one of ``bad_words``, which are sequences of tokens, in the answer.
    Stop strings are text, so the detokenizer looks for them. ``grammar`` is what the answer must follow to its end, a
    text of ``llmrt.text.grammar``; the end is one of the model's end-of-sequence tokens.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    seed: int | None = None
    min_tokens: int = 0
    max_tokens: int | None = None
    stop_token_ids: frozenset[int] = frozenset()
    allowed_token_ids: tuple[int, ...] = ()
    bad_words: tuple[tuple[int, ...], ...] = ()
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    grammar: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether a token is chosen from the model's logits alone, and nothing is reported beside it."""
        return self.logprobs is None and not self.changes_logits

    @property
    def changes_logits(self) -> bool:
        """Whether a token is chosen from other logits than the model's."""
        penalised = self.repetition_penalty != 1 or self.frequency_penalty != 0 or self.presence_penalty != 0
        return bool(penalised or self.logit_bias or self.forbids)

    @property
    def forbids(self) -> bool:
        """Whether there are tokens that must not be chosen, here or there in the answer."""
        return bool(self.min_tokens or self.allowed_token_ids or self.bad_words or self.grammar is not None)

    @property
    def is_plain_greedy(self) -> bool:
        """Whether the chosen token is the likeliest one as the model has it, and nothing is reported beside it."""
        return self.temperature == 0 and self.is_plain

    def validate(self, vocab_size: int) -> None:
        """Raise ``RequestError`` naming the first field whose value cannot be served."""
        for name, allowed in RANGES.items():
            _in_range(name, getattr(self, name), allowed)
        _in_range("frequency_penalty", self.frequency_penalty, Range(-2.0, 2.0))
        _in_range("presence_penalty", self.presence_penalty, Range(-2.0, 2.0))
        _in_range("top_k", self.top_k, Range(0, vocab_size))
        if self.max_tokens is not None and self.max_tokens < 0:
            raise RequestError(f"max_tokens is {self.max_tokens}; it must be at least 0.", param="max_tokens")
        for name, count in (("logprobs", self.logprobs), ("prompt_logprobs", self.prompt_logprobs)):
            if count is not None:
                _in_range(name, count, Range(0, MAX_LOGPROBS))
        for token_id, bias in self.logit_bias.items():
            _in_range("logit_bias", bias, Range(-MAX_BIAS, MAX_BIAS), of=f" of token {token_id}")
        check_token_ids("logit_bias names", self.logit_bias, vocab_size, param="logit_bias")
        check_token_ids("allowed_token_ids names", self.allowed_token_ids, vocab_size, param="allowed_token_ids")
        check_token_ids("bad_words names", chain(*self.bad_words), vocab_size, param="bad_words")


def check_token_ids(says: str, token_ids: Iterable[int], vocab_size: int, *, param: str) -> None:
    """Raise ``RequestError`` for a token that the model does not have; ``says`` stands before it."""
    for token_id in token_ids:
        if not 0 <= token_id < vocab_size:
            raise RequestError(f"{says} token {token_id}; this model has tokens 0 to {vocab_size - 1}.", param=param)


def _in_range(name: str, value: float, allowed: Range, *, of: str = "") -> None:
    if (fault := allowed.fault(value)) is not None:
        raise RequestError(f"{name}{of} {fault}.", param=name)


@dataclass(frozen=True)
class TokenLogprob:
    """Natural log-probability of a token, its rank (1 for the likeliest), and the likeliest tokens, best first."""

    token_id: int
    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)  # frozen ones take three times as long to make, and each step makes one for each request
class RequestOutput:
    """What one engine step gave to one request.

    ``token_ids`` are new since the last output (an end-of-sequence token is among them). ``logprobs`` has one
    entry a token when they were asked for; ``prompt_logprobs``, in a request's first output, has one for each token of
    the prompt but the first, which nothing comes before. ``num_cached_tokens`` of the prompt were not computed, of
    which ``num_disk_tokens`` were read from the disk; at ``diverged_at`` it departs from all that is remembered, None
    for nowhere. ``queue_seconds`` the request waited before it was begun. The last
    output of a request has a ``finish_reason``; with "error" the ``error`` says why, and ``refused`` whether it is the
    request's fault. ``embedding`` is a pooled vector, little-endian fp32, in its request's only output.
    """

    request_id: str
    token_ids: tuple[int, ...]
    finish_reason: EndReason | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    num_cached_tokens: int = 0
    num_disk_tokens: int = 0
    diverged_at: int | None = None
    queue_seconds: float = field(default=0.0, compare=False)
    error: str | None = None
    refused: bool = False
    embedding: bytes | None = None

    def extend(self, later: RequestOutput) -> None:
        """Add what the next step gave: the two are one output then, of which ``later`` says how the request stands."""
        self.token_ids += later.token_ids
        if self.logprobs is not None:
            self.logprobs += later.logprobs or ()
        self.finish_reason = later.finish_reason
        self.num_cached_tokens, self.num_disk_tokens = later.num_cached_tokens, later.num_disk_tokens
        self.diverged_at = later.diverged_at

    def failure(self, param: str | None = None) -> LlmrtError:
        """What an output with an ``error`` is to its sender: a ``RequestError`` about ``param`` if it was refused."""
        assert self.error is not None
        return RequestError(self.error, param=param) if self.refused else LlmrtError(self.error)


def failed(request_id: str, error: LlmrtError) -> RequestOutput:
    """The end of a request by ``error``."""
    refused = isinstance(error, RequestError)
    return RequestOutput(request_id, (), finish_reason="error", error=str(error), refused=refused)


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that is loaded: its ``number`` among those there are now, and what names its content."""

    name: str
    number: int
    digest: bytes


def empty_table() -> array[int]:
    """The block table of a request that holds no blocks."""
    return array("q")


@dataclass(eq=False)
class Request:
    """One sequence in the engine: its tokens, and how many of them are in the KV cache.

    ``token_ids`` are the prompt and what was generated so far, the last of them ``PENDING`` where steps run ahead.
    ``num_computed_tokens`` of them have their keys and values in the blocks of ``block_table``, 64-bit numbers side by
    side as the kernels read them; while it ``is_loading`` they are read from the disk. ``block_keys`` name the content
    of its full blocks. ``seed`` is the one asked for, or drawn when the request begins; with ``max_length`` tokens, a
    number that the scheduler sets, it ends. ``is_plain`` and ``is_plain_greedy`` are those of ``params``.
    ``constraint`` is its place in the grammar, if it has one. A request that ``ends_with_prompt`` generates nothing,
    and is over when its prompt is computed; with ``pooling`` it gives a vector then. All of its tokens go through the
    model with its ``adapter``, if it has one. ``draft`` are guesses of what follows that the step which is scheduled
    verifies. ``prompt_logprobs`` are those of the prompt's tokens so far, from the second on, until they are given out.
    """

    request_id: str
    token_ids: list[int]
    params: SamplingParams
    pooling: Pooling | None = None
    adapter: Adapter | None = None
    num_prompt_tokens: int = field(init=False)
    seed: int = field(init=False)
    is_plain: bool = field(init=False)
    is_plain_greedy: bool = field(init=False)
    ends_with_prompt: bool = field(init=False)
    max_length: int = field(init=False)
    num_computed_tokens: int = 0
    num_cached_tokens: int = 0
    num_disk_tokens: int = 0
    diverged_at: int | None = None
    is_loading: bool = False
    arrived: float = field(default_factory=time.monotonic)
    queue_seconds: float = 0.0
    block_table: array[int] = field(default_factory=empty_table)
    block_keys: list[bytes] = field(default_factory=list[bytes])
    constraint: Constraint | None = None
    draft: tuple[int, ...] = ()
    prompt_logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])

    def __post_init__(self) -> None:
        self.num_prompt_tokens = len(self.token_ids)
        self.seed = secrets.randbits(64) if self.params.seed is None else self.params.seed
        self.is_plain = self.params.is_plain
        self.is_plain_greedy = self.params.is_plain_greedy
        self.ends_with_prompt = self.pooling is not None or self.params.max_tokens == 0

    @property
    def cache_salt(self) -> bytes:
        """What its keys and values depend on beside its tokens."""
        return b"" if self.adapter is None else self.adapter.digest

    @property
    def num_uncomputed_tokens(self) -> int:
        """Tokens whose keys and values are still to be computed: 1 while decoding."""
        return len(self.token_ids) - self.num_computed_tokens

    @property
    def reports_prompt(self) -> bool:
        """Whether log-probabilities of its prompt's tokens are still to be given out."""
        return self.params.prompt_logprobs is not None and self.num_output_tokens == 0

    @property
    def needs_all_rows(self) -> bool:
        """Whether something is made of every token's hidden states, which a cached prefix does not have."""
        return self.pooling == "mean" or self.reports_prompt

    @property
    def is_decoding(self) -> bool:
        """Whether its next step is one token, after which another is chosen."""
        return len(self.token_ids) - self.num_computed_tokens == 1 and not self.ends_with_prompt

    @property
    def num_output_tokens(self) -> int:
        """Tokens generated so far."""
        return len(self.token_ids) - self.num_prompt_tokens
