"""Tokens that a grammar allows join to what it says, whatever the vocabulary does around a text."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from llguidance import LLMatcher
from tokenizers import decoders, normalizers

from llmrt.text.grammar_vocabulary import grammar_vocabulary
from llmrt.text.load_tokenizer import load_tokenizer

EXPRESSIONS = [
    r"hello the cat[0-9]{1,3}",
    r" hello the cat  and",
    r'\{"name": "[a-z]{1,5}", "日本語": (true|false)\}',
    r"(the|a) time 🎉\n",
]


@pytest.fixture(params=["byte_level", "sentencepiece", "legacy sentencepiece", "prepend"])
def model(
    request: pytest.FixtureRequest, tmp_path: Path, sp_model: Path, train_bpe: Callable[..., tokenizers.Tokenizer]
) -> Path:
    """A folder with a vocabulary of each kind."""
    config = '{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": %s}'
    (tmp_path / "tokenizer_config.json").write_text(config % str("legacy" in request.param).lower())
    if "sentencepiece" in request.param:
        shutil.copy(sp_model, tmp_path / "tokenizer.model")
        return tmp_path
    tokenizer = _sentencepiece_by_bpe() if request.param == "prepend" else train_bpe(unk_token="<unk>")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def _sentencepiece_by_bpe() -> tokenizers.Tokenizer:
    """Llama 2's tokenizer.json: a normalizer adds the space."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁", *"thecalon", "he", "▁t", "▁the"]
    merges = [("h", "e"), ("▁", "t"), ("▁t", "he")]
    backend = tokenizers.models.BPE(
        {piece: i for i, piece in enumerate(pieces)}, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True
    )
    tokenizer = tokenizers.Tokenizer(backend)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", left=1)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


@pytest.mark.parametrize("regex", EXPRESSIONS)
def test_answers_by_chance_are_what_the_grammar_says(model: Path, regex: str) -> None:
    tokenizer = load_tokenizer(model)
    vocabulary = grammar_vocabulary(tokenizer)
    for seed in range(5):
        rng = random.Random(seed)
        matcher = LLMatcher(vocabulary, f"start: /{regex}/", log_level=0)
        answer = b""
        while not matcher.is_stopped():
            mask = matcher.compute_bitmask()
            token = rng.choice([i for i in range(tokenizer.vocab_size) if mask[i // 8] >> i % 8 & 1])
            assert matcher.consume_token(token)
            answer += b"" if token in tokenizer.eos_token_ids else tokenizer.token_bytes(token)
        assert not matcher.is_error() and re.fullmatch(regex, answer.decode()), answer
