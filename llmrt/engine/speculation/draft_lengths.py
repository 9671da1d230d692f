"""How many guessed tokens of each request a step verifies: as many as pay. Free of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import sqrt

from llmrt.engine.runners.decode_rows import DRAFT_STEP_ROWS

_MARGIN = 1.03  # times as many tokens a second, or it is not worth it
_SLOWEST = 0.9  # of its pace without guesses is what each request keeps at least


def draft_lengths(chances: Sequence[Sequence[float]], seconds: Callable[[int], float | None]) -> list[int]:
    """For each request the number of its guesses to verify, 0 for all where that is fastest.

    ``chances`` of each request are those that its first guess is right, its first two, and so on; ``seconds`` tells
    what a step of so many rows takes, None where it was not measured of late. Tokens a second are what counts, and that
    no request comes off much worse, such as one without guesses beside one with many.
    """
    requests = len(chances)
    best, plain = [0] * requests, seconds(requests)
    if plain is None:  # to be measured first
        return best
    best_pace = _MARGIN * requests / plain
    guesses = sorted((-chance, place, i) for i, own in enumerate(chances) for place, chance in enumerate(own))
    for rows, time in _expected(requests, plain, len(guesses), seconds):
        lengths = Counter(i for _, _, i in guesses[: rows - requests])
        gained = [1 + sum(own[: lengths[i]]) for i, own in enumerate(chances)]
        if sum(gained) / time > best_pace and min(gained) / time >= _SLOWEST / plain:
            best, best_pace = [lengths[i] for i in range(requests)], sum(gained) / time
    return best


def _expected(
    requests: int, plain: float, num_guesses: int, seconds: Callable[[int], float | None]
) -> list[tuple[int, float]]:
    """Numbers of rows with the seconds that they take; what is not measured is taken to grow as their square root.

    Twice the rows take from hardly longer, where weights are read from memory, to twice as long. So the next larger
    number is tried once where most guesses come true, and its measured time decides from then on.
    """
    known_rows, known, expected = requests, plain, list[tuple[int, float]]()
    for rows in DRAFT_STEP_ROWS:
        if not requests < rows <= requests + num_guesses:
            continue
        measured = seconds(rows)
        if measured is not None:
            known_rows, known = rows, measured
        expected.append((rows, known * sqrt(rows / known_rows)))
    return expected
