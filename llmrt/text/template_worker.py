"""Compiles and renders chat templates, as a process of its own: ``python -m llmrt.text.template_worker SECONDS``.

A template comes with a model and is not trusted. jinja2's sandbox keeps it from this machine's files. That it takes no
more than its share of time and memory, whatever it does, only the system can see to: the process has so much memory,
and for each request so many seconds of the processor, at the end of which it dies.

Requests and answers are lines of JSON; ``template_process.py`` is the other side.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import jinja2

from llmrt.errors import TemplateError
from llmrt.text.template_environment import compile_template, variables_of

MAX_CHARS = 1 << 24  # beyond every context
_MAX_BYTES = 1 << 30

_compiled = lru_cache(maxsize=8)(compile_template)


def main(seconds: float) -> None:
    """Answer each line of the input until it ends."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of the input is the end
    with suppress(ValueError, OSError):  # systems that know no such limit, or have a lower one
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = json.dumps(_answer(json.loads(line)))
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(answer, flush=True)


def _answer(request: dict[str, Any]) -> Mapping[str, Any]:
    """The ``result``, or the ``reason`` why there is none."""
    try:
        return {"result": _ASKED[request.pop("ask")](**request)}
    except TemplateError as error:
        return {"reason": str(error)}
    except MemoryError:
        return {"reason": f"The chat template needs more than {_MAX_BYTES >> 30} GiB of memory."}
    except RecursionError:
        return {"reason": "The chat template is nested too deeply."}


def _variables(source: str) -> list[str]:
    """The names that it looks up, if it compiles."""
    _compiled(source)
    return sorted(variables_of(source))


def _render(source: str, variables: Mapping[str, Any]) -> str:
    template = _compiled(source)
    try:
        text = template.render(variables)
    except jinja2.TemplateError as error:
        raise TemplateError(f"The chat template refuses these messages: {error.message}") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise TemplateError(f"The chat template fails on these messages: {error}.") from error
    if len(text) > MAX_CHARS:
        raise TemplateError(f"The chat template makes {len(text)} characters; {MAX_CHARS} are possible.")
    return text


_ASKED: Mapping[str, Callable[..., Any]] = {"variables": _variables, "render": _render}


if __name__ == "__main__":
    main(float(sys.argv[1]))
