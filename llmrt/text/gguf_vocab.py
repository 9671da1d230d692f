"""The vocabulary that a GGUF file carries in its metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import tokenizers
from gguf import GGUFReader, TokenType
from tokenizers import AddedToken, decoders, processors
from tokenizers.models import BPE

from llmrt.errors import TokenizerError
from llmrt.text.gguf_metadata import open_gguf, read_list, read_value
from llmrt.text.gguf_pretokenizers import bpe_rules
from llmrt.text.hf_tokenizer import HfTokenizer, library_errors
from llmrt.text.sp_model import build_model
from llmrt.text.sp_tokenizer import SpOptions, SpTokenizer
from llmrt.text.tokenizer import Tokenizer

T = TypeVar("T", str, int, float)

_KEY = "tokenizer.ggml."
_CONTROL_TYPES = (TokenType.CONTROL, TokenType.UNKNOWN)

# Files name one end-of-sequence token, but a chat model ends its turn with another one as often as not.
_END_OF_TURN = frozenset(
    {
        "<|eot_id|>",
        "<|eom_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<end_of_turn>",
        "<end_of_utterance>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",
        "<\uff5cend▁of▁sentence\uff5c>",  # DeepSeek, with fullwidth bars
    }
)


@dataclass(frozen=True)
class GgufVocab:
    """Tokens and their types by id, the special ids, and what is added around a text (None: not said)."""

    tokens: list[str]
    types: list[int]
    bos_token_id: int | None
    eos_token_id: int | None
    eos_token_ids: frozenset[int]
    add_bos: bool | None
    add_eos: bool | None

    def added_tokens(self) -> dict[int, AddedToken]:
        """The tokens that are looked for in a text before anything else."""
        return {
            i: AddedToken(token, special=kind in _CONTROL_TYPES, normalized=False)
            for i, (token, kind) in enumerate(zip(self.tokens, self.types, strict=True))
            if kind in (*_CONTROL_TYPES, TokenType.USER_DEFINED)
        }


def load_gguf_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a .gguf file; ``TokenizerError`` where it has none or one of a kind not supported."""
    reader = open_gguf(path)
    model = read_value(reader, _KEY + "model", str)
    if model is None:
        raise TokenizerError(f"{path} has no tokenizer: looked for {_KEY}model.")
    try:
        if model == "gpt2":
            return _byte_level_bpe(reader, _read_vocab(reader))
        if model == "llama":
            return _sentencepiece(reader, _read_vocab(reader))
    except TokenizerError as error:
        raise TokenizerError(f"{path}: {error}") from error
    raise TokenizerError(f"{path}: {_KEY}model is {model!r}; supported are 'gpt2' and 'llama'.")


def _read_vocab(reader: GGUFReader) -> GgufVocab:
    tokens = _required_list(reader, "tokens", str)
    types = read_list(reader, _KEY + "token_type", int) or [int(TokenType.NORMAL)] * len(tokens)
    _same_length("token_type", types, tokens)
    if unknown := set(types).difference(TokenType):
        raise TokenizerError(f"{_KEY}token_type has {min(unknown)}, which is no type of a token.")
    ids = {name: _token_id(reader, name, len(tokens)) for name in ("bos", "eos", "eot", "eom")}
    ends = {i for i in (ids["eos"], ids["eot"], ids["eom"]) if i is not None}
    named = zip(tokens, types, strict=True)
    ends |= {i for i, (t, kind) in enumerate(named) if kind == TokenType.CONTROL and t in _END_OF_TURN}
    return GgufVocab(
        tokens=tokens,
        types=types,
        bos_token_id=ids["bos"],
        eos_token_id=ids["eos"],
        eos_token_ids=frozenset(ends),
        add_bos=read_value(reader, _KEY + "add_bos_token", bool),
        add_eos=read_value(reader, _KEY + "add_eos_token", bool),
    )


def _byte_level_bpe(reader: GGUFReader, vocab: GgufVocab) -> HfTokenizer:
    rules = bpe_rules(read_value(reader, _KEY + "pre", str))
    merges = [_pair(merge) for merge in _required_list(reader, "merges", str)]
    ids = {token: i for i, token in enumerate(vocab.tokens)}
    with library_errors(f"{_KEY}merges do not fit the tokens"):
        backend = tokenizers.Tokenizer(BPE(ids, merges, ignore_merges=rules.ignore_merges))
    if (normalizer := rules.normalizer()) is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer = rules.pre_tokenizer()
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens(list(vocab.added_tokens().values()))
    add_bos = rules.add_bos if vocab.add_bos is None else vocab.add_bos
    backend.post_processor = _around(vocab, add_bos=add_bos, add_eos=vocab.add_eos or False)
    return HfTokenizer(backend, bos_token_id=vocab.bos_token_id, eos_token_ids=vocab.eos_token_ids)


def _around(vocab: GgufVocab, *, add_bos: bool, add_eos: bool) -> processors.TemplateProcessing:
    before = {"BOS": vocab.bos_token_id} if add_bos else {}
    after = {"EOS": vocab.eos_token_id} if add_eos else {}
    named = [
        {"id": name, "ids": [token_id], "tokens": [vocab.tokens[token_id]]}
        for name, token_id in {**before, **after}.items()
        if token_id is not None
    ]
    template = " ".join(name for name in ("BOS", "$A", "EOS") if name in ("$A", *(n["id"] for n in named)))
    return processors.TemplateProcessing(single=template, special_tokens=named)


def _sentencepiece(reader: GGUFReader, vocab: GgufVocab) -> SpTokenizer:
    scores = _required_list(reader, "scores", float)
    _same_length("scores", scores, vocab.tokens)
    prefix = read_value(reader, _KEY + "add_space_prefix", bool)
    pieces = zip(vocab.tokens, scores, vocab.types, strict=True)
    model = build_model(pieces, add_dummy_prefix=True if prefix is None else prefix)
    options = SpOptions(
        bos_token_id=vocab.bos_token_id,
        eos_token_id=vocab.eos_token_id,
        eos_token_ids=vocab.eos_token_ids,
        add_bos=True if vocab.add_bos is None else vocab.add_bos,
        add_eos=vocab.add_eos or False,
        prefix_every_part=True,  # as llama.cpp, for which these files are made
    )
    return SpTokenizer(model, vocab.added_tokens(), options)


def _required_list(reader: GGUFReader, name: str, kind: type[T]) -> list[T]:
    values = read_list(reader, _KEY + name, kind)
    if not values:
        raise TokenizerError(f"{_KEY}{name} is missing.")
    return values


def _same_length(name: str, values: Sequence[object], tokens: Sequence[str]) -> None:
    if len(values) != len(tokens):
        raise TokenizerError(f"{_KEY}{name} has {len(values)} entries for {len(tokens)} tokens.")


def _token_id(reader: GGUFReader, name: str, vocab_size: int) -> int | None:
    key = f"{_KEY}{name}_token_id"
    token_id = read_value(reader, key, int)
    if token_id is not None and not 0 <= token_id < vocab_size:
        raise TokenizerError(f"{key} is {token_id}; the vocabulary has ids 0 to {vocab_size - 1}.")
    return token_id


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    if not left or not right:
        raise TokenizerError(f"{_KEY}merges has {merge!r}; expected two tokens with a space between.")
    return left, right
