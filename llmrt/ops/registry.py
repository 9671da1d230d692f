"""Choosing an implementation, once, when the model is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmrt.errors import ConfigError
from llmrt.ops.rules import forced_backend
from llmrt.ops.types import Implementation, Op, OpSpec, P, R


def resolve(op: Op[P, R], spec: OpSpec) -> Callable[P, R]:
    """The first candidate of ``op`` that serves ``spec``; the caller binds it to its layer. See ``choose``."""
    return choose(op, spec).load()


def choose(op: Op[P, R], spec: OpSpec) -> Implementation[P, R]:
    """The first candidate of ``op`` that serves ``spec``.

    ``LLMRT_KERNELS=reference`` (or another backend's name) admits that backend alone, for ops that it has a candidate
    for. Raises ``ConfigError`` with every candidate and its reason if none serves.
    """
    reasons: list[str] = []
    for candidate, reason in tried(op, spec):
        if reason is None:
            return candidate
        reasons.append(f"{candidate.backend} ({reason})")
    raise ConfigError(f"No implementation of {op.name} for {spec.device} {spec.dtype}: {'; '.join(reasons)}.")


def tried(op: Op[P, R], spec: OpSpec) -> Iterator[tuple[Implementation[P, R], str | None]]:
    """The candidates in order, each with the reason why it does not serve, up to the first that does."""
    forced = forced_backend()
    constrained = any(candidate.backend == forced for candidate in op.candidates)
    for candidate in op.candidates:
        reason = candidate.supports(spec)
        if constrained and candidate.backend != forced:
            reason = f"LLMRT_KERNELS={forced}"
        yield candidate, reason
        if reason is None:
            return
