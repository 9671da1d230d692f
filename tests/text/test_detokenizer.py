"""A stream of tokens against the text of all of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
import tokenizers

from llmrt.errors import RequestError
from llmrt.text.detokenizer import Detokenizer
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt.text.tokenizer import Tokenizer


class Pieces:
    """Tokens with chosen bytes; id 0 is special."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = (b"<eos>", *pieces)
        self.vocab_size = len(self.pieces)
        self.bos_token_id = None
        self.eos_token_ids = frozenset({0})
        self.strips_leading_space = False

    def encode(self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True) -> list[int]:
        raise NotImplementedError

    def token_bytes(self, token_id: int) -> bytes:
        return self.pieces[token_id]

    def token_text(self, token_id: int) -> str:
        return self.pieces[token_id].decode("latin-1")

    def is_special(self, token_id: int) -> bool:
        return token_id == 0

    def decode(self, ids: Iterable[int], *, skip_special_tokens: bool = True) -> str:
        kept = [i for i in ids if i or not skip_special_tokens]
        return b"".join(self.pieces[i] for i in kept).decode("utf-8", errors="replace")


def deltas(detokenizer: Detokenizer, pushes: Iterable[Sequence[int]]) -> list[str]:
    return [*(detokenizer.push(ids) for ids in pushes), detokenizer.finish()]


def cut(text: str, stop: Sequence[str]) -> tuple[str, str | None]:
    """``text`` before the stop string that begins first, of several the shortest, and that string."""
    found = [(text.find(word), len(word), word) for word in stop if word in text]
    start, _, word = min(found, default=(len(text), 0, None))
    return text[:start], word


def random_pushes(draw: random.Random, ids: Sequence[int]) -> list[Sequence[int]]:
    cuts = sorted(draw.choices(range(len(ids) + 1), k=draw.randrange(len(ids) + 2)))
    return [ids[a:b] for a, b in zip([0, *cuts], [*cuts, len(ids)], strict=True)]


def test_a_character_waits_for_its_last_byte() -> None:
    tokenizer = Pieces(b"a\xf0\x9f", b"\x8e", b"\x89b\xe6", b"\x97\xa5")
    assert deltas(Detokenizer(tokenizer), [[1], [2], [3], [4]]) == ["a", "", "🎉b", "日", ""]


def test_bytes_that_become_no_character_are_replaced_at_the_end() -> None:
    tokenizer = Pieces(b"a\xf0\x9f", b"\x8e", b"\xff", b"z")
    assert deltas(Detokenizer(tokenizer), [[1], [2]]) == ["a", "", "\ufffd"]
    assert "".join(deltas(Detokenizer(tokenizer), [[1], [3], [4]])) == "a\ufffd\ufffdz"


def test_the_start_of_a_stop_string_is_withheld_and_released() -> None:
    tokenizer = Pieces(b"a\n", b"\n", b"User", b"b")
    stop = ["\n\nUser:"]
    assert deltas(Detokenizer(tokenizer, stop=stop), [[1], [2], [4]]) == ["a", "", "\n\nb", ""]
    assert deltas(Detokenizer(tokenizer, stop=stop), [[1], [2], [3]]) == ["a", "", "", "\n\nUser"]


def test_a_stop_string_across_tokens_cuts_the_text() -> None:
    tokenizer = Pieces(b"one END", b"I", b"NG two", b"more")
    detokenizer = Detokenizer(tokenizer, stop=["absent", "ENDING"])
    assert [detokenizer.push([i]) for i in (1, 2)] == ["one ", ""]
    assert detokenizer.stopped is None
    assert [detokenizer.push([i]) for i in (3, 4)] == ["", ""]
    assert (detokenizer.stopped, detokenizer.finish()) == ("ENDING", "")


def test_the_stop_string_that_begins_first_wins() -> None:
    tokenizer = Pieces(b"xabc", b"d", b"y")
    for pushes in ([[1], [2]], [[1, 2]]):
        detokenizer = Detokenizer(tokenizer, stop=["bc", "abcd"])
        assert ("".join(deltas(detokenizer, pushes)), detokenizer.stopped) == ("x", "abcd")
    for pushes in ([[1], [3]], [[1]]):
        detokenizer = Detokenizer(tokenizer, stop=["bc", "abcd"])
        assert ("".join(deltas(detokenizer, pushes)), detokenizer.stopped) == ("xa", "bc")


def test_a_stop_string_that_could_be_longer_stops_at_once() -> None:
    detokenizer = Detokenizer(Pieces(b"xab", b"c"), stop=["abc", "ab"])
    assert detokenizer.push([1]) == "x"
    assert detokenizer.stopped == "ab"


def test_special_tokens_are_left_out_unless_they_are_asked_for() -> None:
    tokenizer = Pieces(b"a", b"b")
    assert "".join(deltas(Detokenizer(tokenizer), [[1, 0, 2, 0]])) == "ab"
    assert "".join(deltas(Detokenizer(tokenizer, skip_special_tokens=False), [[1, 0, 2]])) == "a<eos>b"


def test_only_the_first_space_is_stripped() -> None:
    tokenizer = Pieces(b" ", b" a", b"a", b"")
    for ids, text in (([4, 2], "a"), ([2, 2], "a a"), ([1, 2], " a"), ([0, 1], ""), ([3, 2], "a a"), ([1], "")):
        detokenizer = Detokenizer(tokenizer, strip_leading_space=True)
        assert "".join(deltas(detokenizer, [[i] for i in ids])) == text
    assert "".join(deltas(Detokenizer(tokenizer), [[2]])) == " a"


def test_token_offsets_point_into_the_text() -> None:
    tokenizer = Pieces(b" ab", b"\xe6\x97", b"\xa5c", b"stop", b"d")
    detokenizer = Detokenizer(tokenizer, strip_leading_space=True, stop=["cstop"])
    text = "".join(deltas(detokenizer, [[1], [2, 3], [0, 4]]))
    assert text == "ab日"
    assert detokenizer.token_offsets == [0, 2, 2, 4, 4]
    detokenizer.push([5])
    assert detokenizer.token_offsets == [0, 2, 2, 4, 4]


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(RequestError, match="stop holds an empty string") as caught:
        Detokenizer(Pieces(b"a"), stop=["x", ""])
    assert caught.value.param == "stop"


def test_any_split_of_any_bytes_gives_the_same_text() -> None:
    draw = random.Random(0)
    fragments = "aab<🎉é日\n".encode()
    for _ in range(400):
        pieces = [bytes(draw.choices(fragments, k=draw.randrange(4))) for _ in range(8)]
        tokenizer = Pieces(*pieces, "日".encode(), b"a<", "🎉".encode()[:2], "🎉".encode()[2:])
        ids = draw.choices(range(tokenizer.vocab_size), k=draw.randrange(25))
        full = tokenizer.decode(ids)
        stop = ["".join(draw.choices("aab<🎉é日\n", k=draw.randrange(1, 5))) for _ in range(draw.randrange(4))]
        if full and draw.random() < 0.5:
            start = draw.randrange(len(full))
            stop.append(full[start : start + draw.randrange(1, 6)])
        for _ in range(4):
            detokenizer = Detokenizer(tokenizer, stop=stop)
            parts = deltas(detokenizer, random_pushes(draw, ids))
            assert ("".join(parts), detokenizer.stopped) == cut(full, stop)


@pytest.fixture(params=["byte level", "sentencepiece"])
def real(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    sp_model: Path,
    train_bpe: Callable[..., tokenizers.Tokenizer],
) -> Tokenizer:
    if request.param == "sentencepiece":
        (tmp_path / "tokenizer.model").write_bytes(sp_model.read_bytes())
    else:
        train_bpe().save(str(tmp_path / "tokenizer.json"))
    return load_tokenizer(tmp_path)


def test_a_stream_of_real_tokens_equals_decode(real: Tokenizer, texts: list[str]) -> None:
    draw = random.Random(1)
    for text in texts:
        for ids in (real.encode(text), draw.choices(range(real.vocab_size), k=60)):
            full = real.decode(ids)
            for stop in ([], ["the", full[5:9]] if full[5:9] else ["the"]):
                strip = real.strips_leading_space
                detokenizer = Detokenizer(real, stop=stop, strip_leading_space=strip)
                parts = deltas(detokenizer, random_pushes(draw, ids))
                assert ("".join(parts), detokenizer.stopped) == cut(full, stop)
