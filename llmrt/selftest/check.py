"""A check: its number in the list of what clients depend on, one line, and a function that asks a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from llmrt.errors import LlmrtError
from llmrt.selftest.server import Server

Outcome = Literal["pass", "fail", "not applicable"]


class CheckFailedError(LlmrtError):
    """The server did something else; the message says what was seen."""


class NotApplicableError(LlmrtError):
    """The server does not have what is checked, or it cannot be brought about from outside."""


@dataclass(frozen=True)
class Check:
    """``run`` returns what was seen; it raises ``CheckFailedError`` or ``NotApplicableError``."""

    number: int
    summary: str
    run: Callable[[Server], str]


@dataclass(frozen=True)
class Result:
    """How a check ended."""

    number: int
    summary: str
    outcome: Outcome
    seen: str


Checks = list[Check]


def check(checks: Checks, number: int, summary: str) -> Callable[[Callable[[Server], str]], Callable[[Server], str]]:
    """Enter a function in ``checks``."""

    def enter(run: Callable[[Server], str]) -> Callable[[Server], str]:
        checks.append(Check(number, summary, run))
        return run

    return enter


def expect(condition: object, seen: object) -> None:
    """Raise ``CheckFailedError`` with what was ``seen`` unless the condition holds."""
    if not condition:
        raise CheckFailedError(" ".join(str(seen).split())[:300])


def run_check(one: Check, server: Server) -> Result:
    """The check's result; whatever a server answers that the check cannot read is a failure."""
    try:
        return Result(one.number, one.summary, "pass", one.run(server))
    except NotApplicableError as error:
        return Result(one.number, one.summary, "not applicable", str(error))
    except LlmrtError as error:
        return Result(one.number, one.summary, "fail", str(error))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, StopIteration) as error:
        seen = f"the answer has another form ({type(error).__name__}: {error})"
        return Result(one.number, one.summary, "fail", seen)
