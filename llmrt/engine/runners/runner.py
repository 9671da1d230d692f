"""What the engine asks of that which computes its steps. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from llmrt.engine.request import Request
from llmrt.engine.scheduler import SchedulerOutput, StepResult


class Runner(Protocol):
    """The scheduled tokens go through the model, and a token is chosen where a sequence ends, if it goes on."""

    vocab_size: int
    hidden_size: int

    def forget_adapters(self) -> None:
        """The matrices of LoRA adapters are others from now on."""
        ...

    def warm_up(self, max_tokens: int, *, adapted: bool = False) -> None:
        """Compile what steps of up to so many tokens launch, ``adapted`` ones where some requests have adapters."""
        ...

    def randomize_cache(self) -> None:
        """Put random keys and values in the place of those that were computed."""
        ...


class Prefill(Protocol):
    """A step of prompts, computed layer by layer."""

    @property
    def scheduled(self) -> SchedulerOutput:
        """Its requests and their tokens, without those that it was told to forget."""
        ...

    @property
    def num_tokens(self) -> int:
        """Tokens that each layer computes, forgotten ones among them."""
        ...

    def advance(self) -> bool:
        """Compute the next layer; whether it was the last."""
        ...

    def forget(self, request: Request) -> None:
        """Write no more to the blocks of ``request``."""
        ...

    def results(self) -> Mapping[Request, StepResult]:
        """Behind the last layer: a token, or the end, of each request whose last known token is in the step."""
        ...


class ModelRunner(Runner, Protocol):
    """A runner that has the tokens when it has computed the step."""

    @property
    def verifies(self) -> bool:
        """Whether drafts are computed; else ``execute`` accepts none."""
        ...

    def execute(self, scheduled: SchedulerOutput) -> Mapping[Request, StepResult]:
        """A step in which every request has one token and perhaps a draft, and gets the next token."""
        ...

    def begin(self, scheduled: SchedulerOutput) -> Prefill:
        """A step of any kind, nothing of which is computed yet."""
        ...


class Flight(Protocol):
    """A step that was launched. ``is_late`` says that waiting for it at once would leave the device idle."""

    @property
    def is_late(self) -> bool:
        """False where the tokens are there already."""
        ...

    def wait(self) -> Mapping[Request, StepResult]:
        """The token, or the end, of each request whose last token was in the step; blocks until they are there.

        A flight with ends is not late.
        """
        ...


@dataclass(frozen=True)
class KnownResults:
    """A flight that has landed."""

    results: Mapping[Request, StepResult]
    is_late: bool = False

    def wait(self) -> Mapping[Request, StepResult]:
        """See ``Flight``."""
        return self.results


class StepLauncher(Protocol):
    """What launches steps, which follow each other in that order."""

    vocab_size: int

    def warm_up(self, max_tokens: int) -> None:
        """See ``Runner``."""
        ...

    def launch(self, scheduled: SchedulerOutput) -> Flight:
        """Launch a step. A request's pending token is the one that the step launched last chose for it.

        Where all requests decode, some may have drafts; that flight is not late.
        """
        ...


@runtime_checkable
class AsyncRunner(Runner, StepLauncher, Protocol):
    """A runner whose steps are computed on a device while the host goes on."""
