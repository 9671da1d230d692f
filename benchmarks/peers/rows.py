"""What is compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """``prompt`` tokens in, ``gen`` out, at ``depth``, for ``batch`` sequences of a shape; ``metrics`` are reported."""

    key: str
    shape: str
    prompt: int
    gen: int
    depth: int = 0
    batch: int = 1
    metrics: tuple[str, ...] = ("prefill", "decode")

    @property
    def context(self) -> int:
        """The tokens of one sequence."""
        return self.depth + self.prompt + self.gen


def _prefill(key: str, shape: str, prompt: int) -> Row:
    return Row(key, shape, prompt, 1, metrics=("prefill",))


def _decode(key: str, shape: str, gen: int, batch: int = 1) -> Row:
    return Row(key, shape, 16, gen, batch=batch, metrics=("decode",))


ROWS = (
    _prefill("smollm2-prefill-512", "smollm2", 512),
    _decode("smollm2-decode", "smollm2", 128),
    _decode("smollm2-decode-8", "smollm2", 48, batch=8),
    _prefill("1.1b-prefill-256", "1.1b", 256),
    _prefill("1.1b-prefill-512", "1.1b", 512),
    _decode("1.1b-decode", "1.1b", 64),
    _decode("1.1b-decode-8", "1.1b", 24, batch=8),
    Row("1.1b-at-8k", "1.1b", 512, 16, depth=8192),
    Row("1.1b-at-16k", "1.1b", 512, 12, depth=16384),
    Row("1.1b-at-32k", "1.1b", 512, 8, depth=32768),
    _prefill("7b-prefill-512", "7b", 512),
    _decode("7b-decode", "7b", 24),
    _decode("7b-decode-8", "7b", 12, batch=8),
    _prefill("mixtral-prefill-512", "mixtral", 512),
    _decode("mixtral-decode", "mixtral", 32),
    _decode("mixtral-decode-8", "mixtral", 12, batch=8),
)
QUICK = tuple(row.key for row in ROWS if row.shape in ("smollm2", "1.1b") and not row.depth)
