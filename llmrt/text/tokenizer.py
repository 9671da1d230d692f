"""What the rest of llmrt asks of a tokenizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from llmrt.errors import RequestError


class Tokenizer(ABC):
    """Text to token ids and back. Safe to use from several threads once it is loaded.

    ``vocab_size`` is one more than the highest id, added tokens included. ``eos_token_ids`` has every token
    that ends an answer. ``strips_leading_space``: encoding puts a space before a text, so decoding takes one
    off its start.
    """

    vocab_size: int
    bos_token_id: int | None
    eos_token_ids: frozenset[int]
    strips_leading_space: bool

    @abstractmethod
    def encode(self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True) -> list[int]:
        """Token ids of ``text``.

        ``add_special_tokens`` adds what the model expects around a text (mostly a beginning-of-sequence
        token). Without ``parse_special`` the names of special tokens inside ``text`` are plain characters.
        ``RequestError`` for a text that is not whole Unicode, or that the vocabulary cannot spell.
        """

    @abstractmethod
    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that the token adds to a text; ``RequestError`` for an id outside the vocabulary."""

    @abstractmethod
    def token_text(self, token_id: int) -> str:
        """The token as the vocabulary spells it; ``RequestError`` for an id outside the vocabulary."""

    @abstractmethod
    def is_special(self, token_id: int) -> bool:
        """Whether the token steers the model and is no part of a text ("<s>", "<|im_end|>")."""

    def decode(self, ids: Iterable[int], *, skip_special_tokens: bool = True) -> str:
        """The text of ``ids``; bytes that are not UTF-8 become U+FFFD."""
        kept = (i for i in ids if not (skip_special_tokens and self.is_special(i)))
        text = b"".join(map(self.token_bytes, kept)).decode("utf-8", errors="replace")
        return text[1:] if self.strips_leading_space and text.startswith(" ") else text


def check_surrogates(text: str) -> None:
    """Refuse half a surrogate pair: JSON can hold one, UTF-8 and so the vocabularies cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestError(f"The text has half a surrogate pair at character {error.start}.") from error


def unknown_token(token_id: int, vocab_size: int) -> RequestError:
    """The error for an id that no token has."""
    return RequestError(f"Token id {token_id} is not in the vocabulary, which has ids below {vocab_size}.")
