"""A vocabulary for tiny models: the bytes of ASCII, some longer tokens, and one that ends an answer."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import tokenizers
from llguidance import LLMatcher, LLTokenizer
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from llmrt.text.grammar_vocabulary import grammar_vocabulary
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt.text.token_spelling import byte_level_bytes

SIZE = 128
EOS = "<|end|>"
_LONGER = ('{ "', '" :', '{" a', "t r", "tr u", "tru e", ", Ġ", ": Ġ")


def write_vocabulary(folder: Path) -> Path:
    """tokenizer.json with ``SIZE`` ids: ``EOS``, the printable bytes, and the longer tokens that fit."""
    folder.mkdir(parents=True, exist_ok=True)
    characters = {byte_level_bytes(c): c for c in pre_tokenizers.ByteLevel.alphabet()}
    vocab = {characters[bytes([i])]: i for i in range(32, 127)}
    vocab |= {characters[b"\n"]: 31, EOS: SIZE - 1}  # between them ids that no token has
    merges: list[tuple[str, str]] = []
    for merge in _LONGER:
        left, right = merge.split(" ")
        if left in vocab and right in vocab:
            merges.append((left, right))
            vocab[left + right] = min(set(range(SIZE - 1)) - set(vocab.values()))
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(EOS, special=True)])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": EOS}))
    return folder


@cache
def vocabulary() -> LLTokenizer:
    """The vocabulary as llguidance reads it."""
    with TemporaryDirectory() as folder:
        return grammar_vocabulary(load_tokenizer(write_vocabulary(Path(folder))))


def accepts(grammar: str, text: str) -> bool:
    """Whether ``text``, of ASCII, is an answer that ``grammar`` allows as a whole."""
    matcher = LLMatcher(vocabulary(), grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    tokens = vocabulary().tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()
