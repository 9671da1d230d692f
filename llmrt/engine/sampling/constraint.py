"""Where a request is in its grammar, and which tokens may come next. Free of torch.

What follows a token is worked out in another thread as soon as the token is known, while the model computes the
logits of the place after it: a mask is waited for only when those logits are there.

    step loop   sample t | advance(t) | schedule | forward ...................... | forbidden() | sample ...
    thread                 consume t, mask ......
"""

from __future__ import annotations

from concurrent.futures import Executor, Future

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher

from llmrt.text.grammar import one_line

Mask = npt.NDArray[np.bool_]


class Constraint:
    """One request's place in its grammar, at the start at first.

    ``vocab_size`` is the model's, which may have ids that no token of the vocabulary has. ``failure`` says why the
    grammar cannot be followed any further; only tokens that end the answer are allowed then.
    """

    def __init__(self, matcher: LLMatcher, vocab_size: int, thread: Executor) -> None:
        self.failure: str | None = None
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._thread = thread
        self._mask: Future[Mask] = thread.submit(self._compute)

    def forbidden(self) -> Mask:
        """True for the tokens that must not come next, [V]; waits until that is known."""
        return self._mask.result()

    def advance(self, token_id: int) -> None:
        """Go on after ``token_id``, which was allowed."""
        self._mask = self._thread.submit(self._compute_after, token_id)

    def _compute_after(self, token_id: int) -> Mask:
        self._matcher.consume_token(token_id)
        return self._compute()

    def _compute(self) -> Mask:
        allowed = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            self.failure = f"The grammar cannot be followed: {one_line(self._matcher.get_error())}."
        bits = np.unpackbits(np.frombuffer(allowed, np.uint8), count=self._vocab_size, bitorder="little")
        return bits == 0
