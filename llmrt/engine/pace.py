"""How much of a prompt is computed between two tokens of those who are decoding. Free of torch.

A prompt goes through the model layer by layer, and between its layers the others take their steps:

    decode | layer layer layer | decode | layer layer | decode | ...

Layers may take ``_SHARE`` times as long as the decode step beside them. So tokens come at most 1 + ``_SHARE`` times as
far apart as before, and a prompt takes 1 + 1 / ``_SHARE`` times as long as alone where layers fill that time. They do
when several fit: a step has fewer tokens after a deep context, or beside few who decode. Where more wait for their
first token than decode, layers take as many times longer: nobody's waiting counts more than another's.
"""

from __future__ import annotations

from collections import deque
from statistics import median

_SHARE = 2.2
_LAYERS = 3  # that should fit between two decode steps
_SAMPLES = 9  # of which the median is taken: one step in which another process had the processor says nothing
_TOKENS = 64  # steps of prompts have a multiple: fewer are hardly any faster, for the weights are read all the same


class Pace:
    """Learns from measured times how long a decode step and a layer take."""

    def __init__(self) -> None:
        self._decode_seconds = deque[float](maxlen=_SAMPLES)
        self._layer_seconds = deque[float](maxlen=_SAMPLES)  # per token
        self._waiting_per_decoding = 1.0

    def weigh(self, num_waiting: int, num_decoding: int) -> None:
        """So many requests wait for their first token, and so many, at least one, for their next."""
        self._waiting_per_decoding = max(1.0, num_waiting / num_decoding)

    def decoded(self, seconds: float) -> None:
        """A decode step took ``seconds``."""
        self._decode_seconds.append(seconds)

    def layered(self, num_tokens: int, seconds: float) -> None:
        """A layer took ``seconds`` for ``num_tokens`` of prompts."""
        self._layer_seconds.append(max(seconds, 1e-9) / num_tokens)  # a coarse clock sees none

    def allows(self, num_tokens: int, spent: float) -> bool:
        """Whether another layer of ``num_tokens`` fits, after ``spent`` seconds since the last decode step."""
        return spent + num_tokens * median(self._layer_seconds) <= self._allowed()

    def prompt_tokens(self) -> int | None:
        """The tokens of prompts that a step should have while others decode; None while nothing is measured."""
        if not self._decode_seconds or not self._layer_seconds:
            return None
        fitting = self._allowed() / _LAYERS / median(self._layer_seconds)
        return max(_TOKENS, int(fitting) // _TOKENS * _TOKENS)

    def _allowed(self) -> float:
        decode_seconds = median(self._decode_seconds) if self._decode_seconds else 0.0
        return _SHARE * self._waiting_per_decoding * decode_seconds
