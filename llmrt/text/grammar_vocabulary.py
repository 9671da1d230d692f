"""A model's vocabulary as llguidance reads it: the bytes of every token, which are special, which end an answer."""

from __future__ import annotations

from functools import cache

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from llmrt.errors import RequestError
from llmrt.text.tokenizer import Tokenizer

_JOINS_NOTHING = "\x02"  # a text that no token joins to what follows


def grammar_vocabulary(tokenizer: Tokenizer) -> LLTokenizer:
    """The vocabulary, which takes a part of a second to build. ``RequestError`` where no token ends an answer."""
    if not tokenizer.eos_token_ids:
        raise RequestError("This model has no token that ends an answer, so no grammar can end there.")
    wrapper = TokenizerWrapper(_Vocabulary(tokenizer))
    vocabulary = LLTokenizer(wrapper, eos_token=sorted(tokenizer.eos_token_ids), slices=LLTokenizer.json_slices())
    LLMatcher(vocabulary, "start: /(.|\\n)*/").compute_bitmask()  # the first mask takes long
    return vocabulary


@cache
def byte_vocabulary() -> LLTokenizer:
    """A token for every byte and one for the end: enough to try a grammar without a model."""
    return LLTokenizer(TokenizerWrapper(_Bytes()), slices=[])


class _Bytes:
    """The names that llguidance's wrapper looks for."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([i]) for i in range(256)), b"<end>")
    special_token_ids = (256,)

    def __call__(self, text: str | bytes) -> list[int]:
        return [*(text.encode() if isinstance(text, str) else text)]


class _Vocabulary:
    """The names that llguidance's wrapper looks for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.eos_token_id = min(tokenizer.eos_token_ids)
        self.bos_token_id = tokenizer.bos_token_id
        self.tokens = token_bytes(tokenizer)
        self.special_token_ids = [i for i in range(tokenizer.vocab_size) if tokenizer.is_special(i)]
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        """How the model itself would cut ``text`` in the middle of an answer, where no vocabulary adds a space."""
        before = _JOINS_NOTHING if self._tokenizer.strips_leading_space else ""
        return self._encode(before + text)[len(self._encode(before)) :]

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False, parse_special=False)


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of every token, by id."""
    return [_bytes_of(tokenizer, i) for i in range(tokenizer.vocab_size)]


def _bytes_of(tokenizer: Tokenizer, token_id: int) -> bytes:
    """Nothing for an id that no token has; llguidance never allows it."""
    try:
        return tokenizer.token_bytes(token_id)
    except RequestError:
        return b""
