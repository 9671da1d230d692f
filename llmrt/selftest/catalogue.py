"""Every check, in the order of the list."""

from __future__ import annotations

from llmrt.selftest import (
    dialects,
    errors,
    framing,
    leaving,
    messages,
    routes,
    sampling,
    stops,
    structured,
    tools,
    usage,
)
from llmrt.selftest.check import Check

_TOPICS = (framing, usage, stops, errors, sampling, messages, tools, structured, routes, dialects, leaving)
CHECKS: tuple[Check, ...] = tuple(
    sorted((check for topic in _TOPICS for check in topic.CHECKS), key=lambda check: check.number)
)
