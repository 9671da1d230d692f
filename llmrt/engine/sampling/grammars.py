"""From the grammars of requests to their constraints. Free of torch.

Compiling may take long, and so does the vocabulary, which is built when the first grammar comes. Both happen in a
thread; a request joins the scheduler when its constraint is there, and until then the others go on without it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cached_property
from typing import TYPE_CHECKING

from llmrt.engine.request import Request, RequestOutput, failed
from llmrt.errors import LlmrtError, RequestError
from llmrt.text.grammar import one_line, parser_limits
from llmrt.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLTokenizer

    from llmrt.engine.sampling.constraint import Constraint

_WAIT_SECONDS = 0.005  # after which the engine looks for other work again


class Grammars:
    """Makes the constraints of requests; ``load_tokenizer`` reads the vocabulary of a model with ``vocab_size`` ids."""

    def __init__(self, load_tokenizer: Callable[[], Tokenizer], vocab_size: int) -> None:
        self._load_tokenizer = load_tokenizer
        self._vocab_size = vocab_size
        self._compiler = ThreadPoolExecutor(1, "llmrt-grammar")
        self._masks = ThreadPoolExecutor(1, "llmrt-mask")
        self._pending: dict[Request, Future[Constraint]] = {}

    @property
    def num_pending(self) -> int:
        """Requests whose grammar is being compiled."""
        return len(self._pending)

    def compile(self, request: Request) -> None:
        """Begin to make the constraint of ``request``."""
        assert request.params.grammar is not None
        self._pending[request] = self._compiler.submit(self._constraint, request.params.grammar)

    def abort(self, request_id: str) -> None:
        """Forget the request if it waits here."""
        for request in [request for request in self._pending if request.request_id == request_id]:
            self._pending.pop(request).cancel()

    def wait(self) -> None:
        """Wait a moment for the next constraint."""
        wait([next(iter(self._pending.values()))], _WAIT_SECONDS)

    def take(self) -> tuple[list[Request], list[RequestOutput]]:
        """The requests that have their constraint now, and the ends of those whose grammar is none."""
        ready: list[Request] = []
        refused: list[RequestOutput] = []
        for request, constraint in [(r, future) for r, future in self._pending.items() if future.done()]:
            del self._pending[request]
            try:
                request.constraint = constraint.result()
                ready.append(request)
            except LlmrtError as error:
                refused.append(failed(request.request_id, error))
        return ready, refused

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        from llmrt.text.grammar_vocabulary import grammar_vocabulary

        return grammar_vocabulary(self._load_tokenizer())

    def _constraint(self, grammar: str) -> Constraint:
        from llguidance import LLMatcher

        from llmrt.engine.sampling.constraint import Constraint

        matcher = LLMatcher(self._vocabulary, grammar, log_level=0, limits=parser_limits())
        if matcher.is_error():
            raise RequestError(f"The grammar cannot be followed: {one_line(matcher.get_error())}.", param="grammar")
        return Constraint(matcher, self._vocab_size, self._masks)
