"""Choosing an implementation, once, when the model is built."""

from __future__ import annotations

import os
from collections.abc import Callable

from llmrt.errors import ConfigError
from llmrt.ops.types import Implementation, Op, OpSpec, P, R

BACKENDS = ("triton", "cpu", "reference")


def resolve(op: Op[P, R], spec: OpSpec) -> Callable[P, R]:
    """The first candidate of ``op`` that serves ``spec``; the caller binds it to its layer. See ``choose``."""
    return choose(op, spec).fn


def choose(op: Op[P, R], spec: OpSpec) -> Implementation[P, R]:
    """The first candidate of ``op`` that serves ``spec``.

    ``LLMRT_KERNELS=reference`` (or another backend's name) admits that backend alone, for ops that it has a candidate
    for. Raises ``ConfigError`` with every candidate and its reason if none serves.
    """
    forced = forced_backend()
    constrained = any(candidate.backend == forced for candidate in op.candidates)
    tried: list[str] = []
    for candidate in op.candidates:
        reason = candidate.supports(spec)
        if constrained and candidate.backend != forced:
            reason = f"LLMRT_KERNELS={forced}"
        if reason is None:
            return candidate
        tried.append(f"{candidate.backend} ({reason})")
    raise ConfigError(f"No implementation of {op.name} for {spec.device} {spec.dtype}: {'; '.join(tried)}.")


def forced_backend() -> str | None:
    """What ``LLMRT_KERNELS`` names, None for nothing. Raises ``ConfigError`` if there is no such backend."""
    forced = os.environ.get("LLMRT_KERNELS")
    if forced is not None and forced not in BACKENDS:
        raise ConfigError(f"LLMRT_KERNELS is {forced!r}; it must be one of {', '.join(BACKENDS)}.")
    return forced
