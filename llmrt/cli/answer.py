"""One answer as it grows: its text, and how fast it came. Free of torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from llmrt.engine.request import EndReason, RequestOutput
from llmrt.text.detokenizer import Detokenizer
from llmrt.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of one answer. Times are in seconds; the time to the first token and the rate are None without the tokens.

    ``token_ids`` are all that were generated, one that ended the answer among them, and none where a server answered.
    ``stop`` is the stop string that was found. ``decode_rate`` is tokens a second after the first one.
    """

    num_prompt_tokens: int
    num_cached_tokens: int
    num_output_tokens: int
    time_to_first_token: float | None
    decode_rate: float | None
    finish_reason: EndReason
    stop: str | None
    token_ids: tuple[int, ...] = ()


class Answer:
    """Joins the outputs of one request; ``finish_reason`` is None while it goes on."""

    def __init__(
        self, tokenizer: Tokenizer, stop_token_ids: Collection[int], stop: Sequence[str], *, strip_leading_space: bool
    ) -> None:
        self.finish_reason: EndReason | None = None
        self._stop_token_ids = stop_token_ids
        self._detokenizer = Detokenizer(tokenizer, stop=stop, strip_leading_space=strip_leading_space)
        self._token_ids: list[int] = []
        self._times: list[float] = []
        self._num_cached_tokens = 0

    def advance(self, output: RequestOutput, now: float) -> str:
        """The text that ``output``, which came at the time ``now``, makes certain."""
        if output.finish_reason == "error":
            raise output.failure()
        self._num_cached_tokens = output.num_cached_tokens
        self._token_ids += output.token_ids
        self._times += [now] * len(output.token_ids)
        text = self._detokenizer.push(self._shown(output))
        if self._detokenizer.stopped is not None:
            self.finish_reason = "stop"
        elif output.finish_reason is not None:
            self.finish_reason = output.finish_reason
            text += self._detokenizer.finish()
        return text

    def statistics(self, num_prompt_tokens: int, start: float) -> Statistics:
        """What there is to say of an answer that was asked for at the time ``start``."""
        times = self._times
        return Statistics(
            num_prompt_tokens=num_prompt_tokens,
            num_cached_tokens=self._num_cached_tokens,
            num_output_tokens=len(self._token_ids),
            token_ids=tuple(self._token_ids),
            time_to_first_token=times[0] - start if times else None,
            decode_rate=(len(times) - 1) / (times[-1] - times[0]) if times and times[-1] > times[0] else None,
            finish_reason=self.finish_reason or "abort",
            stop=self._detokenizer.stopped,
        )

    def _shown(self, output: RequestOutput) -> tuple[int, ...]:
        """The token that ended the answer is no part of its text."""
        ended = output.finish_reason == "stop" and output.token_ids[-1] in self._stop_token_ids
        return output.token_ids[:-1] if ended else output.token_ids
