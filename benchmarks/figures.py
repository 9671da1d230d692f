"""Figures as pages have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown, without the end of its last line."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def short_rate(value: float) -> str:
    """With a decimal below 100."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
