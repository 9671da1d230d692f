"""What a prompt has in common with those before it, against a comparison with each of them."""

from __future__ import annotations

import itertools
import random

import pytest

from llmrt.engine import recent_prompts
from llmrt.engine.recent_prompts import RecentPrompts


def num_common(one: list[int], other: list[int]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@pytest.mark.parametrize("seed", range(5))
def test_it_departs_where_a_comparison_with_each_says(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the oldest are forgotten, a request has more by now than before, and several have the same."""
    monkeypatch.setattr(recent_prompts, "_MOST_TOKENS", room := 3000)
    draw, recent = random.Random(seed), RecentPrompts()
    tokens, salts = (0, 1, 255, 256, 128_255), (b"", b"an adapter")
    kept: dict[str, tuple[bytes, list[int]]] = {}  # oldest first
    for i in range(300):
        salt, prompt = draw.choice(salts), draw.choices(tokens, k=draw.randrange(1, 8))
        others = [other for other_salt, other in kept.values() if other_salt == salt]
        assert recent.departure(prompt, salt) == max((num_common(prompt, other) for other in others), default=0)
        name = str(i) if draw.random() < 0.8 else draw.choice([str(i), *kept])
        kept.pop(name, None)
        kept[name] = salt, prompt
        recent.note(name, prompt, salt)
        while sum(len(other) + 64 for _, other in kept.values()) > room:
            del kept[next(iter(kept))]


def test_the_common_part_may_be_long() -> None:
    recent = RecentPrompts()
    prompt = [i % 50_000 for i in range(100_000)]
    recent.note("a", prompt, b"")
    recent.note("b", prompt[:5], b"")
    assert recent.departure([*prompt[:70_001], 7, 7], b"") == 70_001
    assert recent.departure(prompt, b"") == 100_000
    assert recent.departure([1], b"") == 0
