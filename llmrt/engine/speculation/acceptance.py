"""How many guessed tokens of a request come true. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence

_PRIOR, _PRIOR_WEIGHT = 0.5, 2.0
_WINDOW = 24.0  # tokens that count; what was before fades
_FADING = 0.995  # a step without guesses, so that what did not pay is tried again some hundred steps later


class Acceptance:
    """The chance that a guessed token is right if those before it were, from how guesses fared so far."""

    def __init__(self) -> None:
        self._tried = self._right = 0.0

    @property
    def chance(self) -> float:
        """Between 0 and 1; what is known of no request counts for a few tokens."""
        return (self._right + _PRIOR * _PRIOR_WEIGHT) / (self._tried + _PRIOR_WEIGHT)

    def observe(self, guessed: Sequence[int], came: Sequence[int]) -> None:
        """Compare ``guessed`` tokens, verified or not, with those that ``came`` so far."""
        if not guessed:
            self._tried, self._right = self._tried * _FADING, self._right * _FADING
        for guess, token_id in zip(guessed, came, strict=False):
            self._count(right=guess == token_id)
            if guess != token_id:
                return

    def _count(self, *, right: bool) -> None:
        fading = min(1.0, _WINDOW / (self._tried + 1))
        self._tried = (self._tried + 1) * fading
        self._right = (self._right + right) * fading
