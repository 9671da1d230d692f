"""What a model may have that not every kernel computes, in the words of messages. Free of torch."""

from __future__ import annotations

QK_NORM = "QK norm"
UNDIVIDED_EXPERTS = "expert weights that are not renormalized"
SHARED_EXPERT = "shared experts"

# What the native kernels compute of it.
NATIVE_OPTIONS = frozenset((QK_NORM, UNDIVIDED_EXPERTS, SHARED_EXPERT))


def options_refusal(lacking: frozenset[str]) -> str | None:
    """Why kernels do not serve a model that needs what they are ``lacking``; None if that is nothing."""
    return f"these kernels do not compute {' and '.join(sorted(lacking))}" if lacking else None
