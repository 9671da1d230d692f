"""Answers in a terminal are broken as textwrap breaks them, however they come."""

from __future__ import annotations

import random
import re
import textwrap
from itertools import pairwise

import pytest

from llmrt.cli.wrapping import WordWrap

WORDS = ["a", "to", "word", "(longer)", "sentence,", "e\u0301te\u0301", "w" * 38]


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
    while columns:
        columns -= line[-1] != "\u0301"
        line = line[:-1]
    return line


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
