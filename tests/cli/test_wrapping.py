"""Answers in a terminal are broken as textwrap breaks them, however they come."""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise

import pytest
from wcwidth import iter_graphemes, wcswidth

from llmrt.cli.wrapping import WordWrap

# What is drawn as one character, and its columns as Unicode and terminals that follow it have them.
CLUSTERS = {
    "a scientist": ("\U0001f469\u200d\U0001f52c", 2),
    "a family": ("\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", 2),
    "a heart as an emoji": ("\u2764\ufe0f", 2),
    "a heart as text": ("\u2764", 1),
    "a key": ("1\ufe0f\u20e3", 2),
    "a flag": ("\U0001f1e9\U0001f1ea", 2),
    "a thumb with a colour": ("\U0001f44d\U0001f3fd", 2),
    "a syllable of three letters": ("\u1112\u1161\u11ab", 2),
    "marks above and below": ("a\u0323\u0302\u0301", 1),
    "a wide bracket": ("\uff08", 2),
}
WORDS = ["a", "to", "word", "(longer)", "sentence,", "e\u0301te\u0301", "w" * 38]


@pytest.fixture(autouse=True)
def terminal_of_no_known_peculiarity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TERM_PROGRAM", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def shown(written: str) -> list[str]:
    """The lines of a terminal that got this: it knows new lines, moves to the left, and erases to the line's end."""
    lines = [""]
    for left, char in re.findall(r"\x1b\[(\d+)D\x1b\[K|([\s\S])", written):
        if left:
            lines[-1] = erased(lines[-1], int(left))
        elif char == "\n":
            lines.append("")
        else:
            lines[-1] += char
    return lines


def erased(line: str, columns: int) -> str:
    rest = line
    while wcswidth(line) - wcswidth(rest) < columns:
        rest = rest[:-1]
    return rest


def pieces(text: str, rng: random.Random) -> list[str]:
    cuts = [0, *sorted(rng.choices(range(len(text) + 1), k=20)), len(text)]
    return [text[a:b] for a, b in pairwise(cuts)]


@pytest.mark.parametrize("seed", range(20))
def test_words_are_kept_whole(seed: int) -> None:
    rng = random.Random(seed)
    width = rng.randrange(12, 60)
    wrap, paragraphs = WordWrap(width), [" ".join(rng.choices(WORDS, k=30)) for _ in range(3)]
    written = "".join(map(wrap.push, pieces("\n\n".join(paragraphs), rng)))
    expected = [textwrap.wrap(p.replace("e\u0301", "\u00e9"), width - 1, break_long_words=False) for p in paragraphs]
    lines = [line.rstrip().replace("e\u0301", "\u00e9") for line in shown(written)]
    assert lines == [*expected[0], "", *expected[1], "", *expected[2]]


def test_wide_characters_take_two_columns_and_break_anywhere() -> None:
    lines = shown(WordWrap(10).push("\u6771\u4eac\u306f\u5927\u304d\u3044\u90fd\u5e02 ok"))
    assert [line.rstrip() for line in lines] == ["\u6771\u4eac\u306f\u5927", "\u304d\u3044\u90fd\u5e02", "ok"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_is_drawn_as_one_character_is_counted_as_that(name: str) -> None:
    cluster, columns = CLUSTERS[name]
    first, *_ = shown(WordWrap(21).push(f"{cluster}x " * 9))
    assert first.split() == [f"{cluster}x"] * (21 // (columns + 2))


@pytest.mark.parametrize("name", [name for name, (_, columns) in CLUSTERS.items() if columns == 2])
def test_a_line_may_end_before_any_wide_one_and_never_within(name: str) -> None:
    cluster, _ = CLUSTERS[name]
    lines = shown(WordWrap(10).push(f"I {cluster * 6}"))
    assert [line.rstrip() for line in lines] == [f"I {cluster * 3}", cluster * 3]


def test_code_and_long_words_are_left_alone() -> None:
    text = "Look at this:\n```python\nprint('one', 'two', 'three', 'four')\n```\nhttps://example.org/a/long/path\n"
    assert WordWrap(20).push(text) == text
    assert shown(WordWrap(20).push("See https://example.org/a/long/path there."))[1:] == [
        "https://example.org/a/long/path",
        "there.",
    ]


def test_code_within_a_line_opens_no_block() -> None:
    assert shown(WordWrap(12).push("```x = 1```\nand some more words"))[1:] == ["and some ", "more words"]


def test_spaces_at_the_border_make_no_line_of_their_own() -> None:
    assert WordWrap(10).push("nine char  \nnext") == "nine char\nnext"
    assert WordWrap(10).push("nine char  next") == "nine char\nnext"


def test_a_wide_space_takes_two_columns() -> None:
    assert shown(WordWrap(10).push("a\u3000b\u3000c\u3000d")) == ["a\u3000b\u3000c\u3000", "d"]
    assert shown(WordWrap(10).push("eight ch\u3000x")) == ["eight ch", "x"]


def test_marks_without_end_are_not_read_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counted(text: str) -> Iterator[str]:
        read.append(len(text))
        return iter_graphemes(text)

    monkeypatch.setattr("llmrt.cli.wrapping.iter_graphemes", counted)
    text = ("a" + "\u0301" * 1000 + "b ") * 4
    assert shown(WordWrap(10).push(text))[0] == text[: len(text) * 3 // 4]
    assert max(read) < 100
