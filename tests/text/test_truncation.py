"""Texts that are cut, against the tokenizers library's own truncation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from tokenizers import processors

from llmrt.errors import RequestError
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt.text.truncation import Truncation, TruncationSide

SPECIALS = [("<s>", 1), ("</s>", 2)]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("around", ["$A", "<s> $A", "$A </s>", "<s> $A </s>"])
def test_what_is_left_of_a_text_equals_the_library(
    tmp_path: Path,
    train_bpe: Callable[..., tokenizers.Tokenizer],
    texts: list[str],
    around: str,
    side: TruncationSide,
) -> None:
    theirs = train_bpe()
    theirs.post_processor = processors.TemplateProcessing(single=around, special_tokens=SPECIALS)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    for limit in (3, 4, 9, 1000):
        theirs.enable_truncation(limit, direction=side)
        for text in [*texts, "<s> a </s></s>", "<s><s><s><s><s>"]:
            for special in (True, False):
                cut = Truncation(limit, side).of_text(ours, text, add_special_tokens=special)
                assert cut == theirs.encode(text, add_special_tokens=special).ids, (limit, text)


def test_a_limit_without_room_for_the_text_is_refused(
    tmp_path: Path, train_bpe: Callable[..., tokenizers.Tokenizer]
) -> None:
    tokenizer = train_bpe()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=SPECIALS)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    assert Truncation(2).of_text(ours, "") == [1, 2]
    with pytest.raises(RequestError, match="truncate_prompt_tokens is 2, but 2 tokens are added") as caught:
        Truncation(2).of_text(ours, "more")
    assert caught.value.param == "truncate_prompt_tokens"
