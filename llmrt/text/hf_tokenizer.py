"""A vocabulary of the tokenizers library: tokenizer.json, or what was built from a GGUF file."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from llmrt.errors import LlmrtError, RequestError, TokenizerError
from llmrt.text.json_text import parse_json
from llmrt.text.model_files import all_special_texts, declared_tokens, end_token_ids, special_token_texts
from llmrt.text.token_spelling import spelling_of
from llmrt.text.tokenizer import Tokenizer, check_surrogates, unknown_token

MOST_IDS = 1 << 22  # of which lists are made
_GROWTH = 1024  # under a hundred are known


@contextmanager
def library_errors(where: object, kind: type[LlmrtError] = TokenizerError) -> Generator[None]:
    """Raise an error that says ``where`` for what the library raises: bare exceptions, and panics of Rust."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise kind(f"{where}: {str(error).removesuffix('.') or type(error).__name__}.") from error
        raise


class HfTokenizer(Tokenizer):
    """``Tokenizer`` over a ``tokenizers.Tokenizer``, whose post-processor adds the special tokens."""

    def __init__(
        self, backend: tokenizers.Tokenizer, *, bos_token_id: int | None, eos_token_ids: frozenset[int]
    ) -> None:
        self._backend = backend
        self._added = backend.get_added_tokens_decoder()
        self._spelling = spelling_of(backend.decoder)
        self._bytes: dict[int, bytes] = {}  # of tokens that were asked for
        self.strips_leading_space = self._spelling.strips_leading_space
        self.vocab_size = max(backend.get_vocab().values(), default=-1) + 1
        if self.vocab_size > MOST_IDS:
            raise TokenizerError(f"A token has the id {self.vocab_size - 1}; ids up to {MOST_IDS - 1} are supported.")
        self.bos_token_id = bos_token_id
        self.eos_token_ids = eos_token_ids
        named = eos_token_ids if bos_token_id is None else eos_token_ids | {bos_token_id}
        self._special = named | {i for i, token in self._added.items() if token.special}

    def encode(self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True) -> list[int]:
        """See ``Tokenizer.encode``."""
        check_surrogates(text)
        backend = self._backend if parse_special else self._literal_backend
        with library_errors("The tokenizer fails on this text", RequestError):
            # As a batch of one: the library lets other threads run meanwhile, and counts no offsets.
            return backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids

    def token_bytes(self, token_id: int) -> bytes:
        """See ``Tokenizer.token_bytes``."""
        data = self._bytes.get(token_id)
        if data is None:
            data = self._bytes[token_id] = self._spelled(token_id)
        return data

    def token_text(self, token_id: int) -> str:
        """See ``Tokenizer.token_text``."""
        text = self._backend.id_to_token(token_id) if 0 <= token_id < self.vocab_size else None
        if text is None:
            raise unknown_token(token_id, self.vocab_size)
        return text

    def is_special(self, token_id: int) -> bool:
        """See ``Tokenizer.is_special``."""
        return token_id in self._special

    def _spelled(self, token_id: int) -> bytes:
        if token_id in self._added:  # written as it is, outside the spelling of the vocabulary
            return self._added[token_id].content.encode("utf-8")
        return self._spelling.to_bytes(self.token_text(token_id))

    @cached_property
    def _literal_backend(self) -> tokenizers.Tokenizer:
        """A copy that reads special tokens as text: the setting is the whole object's, not a call's."""
        copy = tokenizers.Tokenizer.from_str(self._backend.to_str())
        copy.encode_special_tokens = True
        return copy


def load_hf_tokenizer(directory: Path) -> HfTokenizer:
    """The tokenizer of ``directory / "tokenizer.json"`` and the special tokens that the files beside it name.

    As in transformers, tokenizer.json alone says what is added around a text: ``add_bos_token`` and
    ``add_eos_token`` of tokenizer_config.json hold only where there is no tokenizer.json.
    """
    path = directory / "tokenizer.json"
    with library_errors(f"{path} cannot be read"):
        backend = tokenizers.Tokenizer.from_file(str(path))
    if backend.normalizer is not None and _growth(parse_json(backend.normalizer.__getstate__())) > _GROWTH:
        raise TokenizerError(f"{path}: its normalizer may make more than {_GROWTH} characters of one.")
    backend.no_truncation()
    backend.no_padding()
    _add_declared(backend, declared_tokens(directory, known=backend.get_added_tokens_decoder()))
    _add_named(backend, all_special_texts(directory))
    names = special_token_texts(directory)
    bos, eos = (_id_of(backend, names.get(key)) for key in ("bos_token", "eos_token"))
    return HfTokenizer(backend, bos_token_id=bos, eos_token_ids=end_token_ids(directory, eos))


def _growth(step: Mapping[str, Any]) -> int:
    """How many characters a normalizer may make of one: what the library cannot hold in memory ends the process."""
    match step:
        case {"type": "Sequence", "normalizers": steps}:
            return prod(map(_growth, steps))
        case {"type": "Replace", "pattern": {"String": str(found)}, "content": text} if found:
            return max(1, len(text))
        case {"type": "Replace", "content": text} | {"type": "Prepend", "prepend": text}:
            return 1 + len(text)  # an expression that matches nothing puts its text beside a character
        case {"type": "Precompiled", "precompiled_charsmap": charsmap}:
            return _longest_replacement(b64decode(charsmap))
        case {"type": "ByteLevel"}:
            return 4
        case _:
            return 1


def _longest_replacement(charsmap: bytes) -> int:
    """In characters. sentencepiece's map: the size of a trie, in four bytes; the trie; texts with a zero after each."""
    texts = charsmap[4 + int.from_bytes(charsmap[:4], "little") :]
    return max(len(text) for text in texts.decode("utf-8", "replace").split("\0")) or 1


def _add_declared(backend: tokenizers.Tokenizer, declared: Mapping[int, AddedToken]) -> None:
    for token_id, token in sorted(declared.items()):
        backend.add_tokens([token])
        if (actual := backend.token_to_id(token.content)) != token_id:
            raise TokenizerError(
                f"tokenizer_config.json gives {token.content!r} the id {token_id},"
                f" but in tokenizer.json it is {actual}."
            )


def _add_named(backend: tokenizers.Tokenizer, texts: Iterable[str]) -> None:
    """Make the named tokens special. A name without an id is no token that the model knows."""
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    for text in texts:
        if text not in added and backend.token_to_id(text) is not None:
            backend.add_tokens([AddedToken(text, special=True)])


def _id_of(backend: tokenizers.Tokenizer, text: str | None) -> int | None:
    return None if text is None else backend.token_to_id(text)
