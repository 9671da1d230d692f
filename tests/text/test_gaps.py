"""Prompts of a text with a gap; those that models are given over HTTP are in tests/server."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from llmrt.errors import RequestError
from llmrt.text.gaps import gap_prompt
from llmrt.text.load_tokenizer import load_tokenizer


def test_one_token_for_all_that_is_unknown_is_no_mark(tmp_path: Path) -> None:
    words = Tokenizer(WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    words.decoder = Fuse()
    words.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("<fim_prefix>", add_special_tokens=False) == [0]
    with pytest.raises(RequestError, match="no marks"):
        gap_prompt(tokenizer, "a", "b", add_special_tokens=False)
