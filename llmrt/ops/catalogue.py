"""Every operation that computing a model takes, and what would run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmrt.ops.registry import choose, tried
from llmrt.ops.table import (
    ARGMAX,
    EMBEDDING,
    EMBEDDING_PACKED,
    GATED_LINEAR,
    GATED_LINEAR_PACKED,
    LINEAR,
    LINEAR_PACKED,
    LM_HEAD_PACKED,
    MOE_EXPERTS,
    MOE_EXPERTS_PACKED,
    PAGED_ATTENTION,
    RMS_NORM,
    ROTARY_LINEAR,
    ROTARY_LINEAR_PACKED,
)
from llmrt.ops.types import Op, OpSpec

PACKED = (
    EMBEDDING_PACKED,
    RMS_NORM,
    ROTARY_LINEAR_PACKED,
    PAGED_ATTENTION,
    LINEAR_PACKED,
    GATED_LINEAR_PACKED,
    MOE_EXPERTS_PACKED,
    LM_HEAD_PACKED,
)
DENSE = (EMBEDDING, RMS_NORM, ROTARY_LINEAR, PAGED_ATTENTION, LINEAR, GATED_LINEAR, MOE_EXPERTS)


@dataclass(frozen=True)
class Choice:
    """``backend`` runs ``op``; ``passed_over`` has the others that come before it, each with the reason."""

    op: str
    backend: str
    passed_over: dict[str, str]


def choices(spec: OpSpec) -> list[Choice]:
    """What would run each operation of a model of ``spec``. Raises ``ConfigError`` for ``LLMRT_KERNELS``."""
    ops: tuple[Op[..., Any], ...] = (*(PACKED if spec.packed else DENSE), ARGMAX)
    return [_choice(op, spec) for op in ops]


def _choice(op: Op[..., Any], spec: OpSpec) -> Choice:
    passed_over = {candidate.backend: reason for candidate, reason in tried(op, spec) if reason is not None}
    backend = choose(op, spec).backend
    return Choice(op.name, backend, {name: reason for name, reason in passed_over.items() if name != backend})
