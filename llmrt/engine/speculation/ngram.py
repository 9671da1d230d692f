"""Prompt lookup: what followed the same tokens earlier in the request. Free of torch.

    ... the cat sat on the mat ... the cat sat on
                           ^ proposed            ^ the last tokens are found there, as far back as they agree

All places where the last ``GRAM`` tokens occurred are linked, the latest first, as matches are found in LZ77
(https://doi.org/10.1109/TIT.1977.1055714); of a few of them the one that agrees with most of what is before is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from llmrt.engine.request import Request

GRAM = 3  # fewer tokens occur again by chance
_PLACES = 8  # that are looked at
_AGREEMENT = 32  # tokens that are compared


class PromptLookup:
    """See ``Proposer``."""

    seconds_per_token = 0.0

    def __init__(self) -> None:
        self._histories = WeakKeyDictionary[Request, History]()

    def warm_up(self) -> None:
        """See ``Proposer``. There is nothing to compile."""

    def reach(self, request: Request) -> int:
        """See ``Proposer``. What repeats may repeat for ever."""
        return request.max_length

    def propose(self, requests: Sequence[Request], counts: Sequence[int]) -> list[list[int]]:
        """See ``Proposer``. None where there is nothing to go by."""
        return [self._history(request).continuation(most) for request, most in zip(requests, counts, strict=True)]

    def _history(self, request: Request) -> History:
        history = self._histories.get(request)
        if history is None:
            history = self._histories[request] = History()
        history.extend(request.token_ids)
        return history


class History:
    """The tokens of one request, by what stands before each."""

    def __init__(self) -> None:
        self._token_ids: list[int] = []
        self._last: dict[tuple[int, ...], int] = {}  # the latest place that has these tokens before it
        self._before: list[int] = []  # for each place, the last one with the same tokens before it, or -1

    def extend(self, token_ids: list[int]) -> None:
        """Take in what ``token_ids`` has more than before."""
        for token_id in token_ids[len(self._token_ids) :]:
            place = len(self._token_ids)
            gram = tuple(self._token_ids[-GRAM:])
            self._before.append(self._last.get(gram, -1))
            self._last[gram] = place
            self._token_ids.append(token_id)

    def continuation(self, most: int) -> list[int]:
        """What followed the same tokens; a stretch that ends with the last token is taken to repeat."""
        places = self._places()
        if not places:
            return []
        place = max(places, key=self._agreement)  # the latest of equal ones, which is the first
        period = len(self._token_ids) - place
        return [self._token_ids[place + i % period] for i in range(most)]

    def _places(self) -> list[int]:
        """The latest places that have the last tokens before them."""
        places: list[int] = []
        place = self._last.get(tuple(self._token_ids[-GRAM:]), -1)
        while place >= GRAM and len(places) < _PLACES:
            places.append(place)
            place = self._before[place]
        return places

    def _agreement(self, place: int) -> int:
        """How many tokens before ``place`` are those before the end."""
        tokens, end, agreeing = self._token_ids, len(self._token_ids), GRAM
        while agreeing < min(place, _AGREEMENT) and tokens[place - 1 - agreeing] == tokens[end - 1 - agreeing]:
            agreeing += 1
        return agreeing
