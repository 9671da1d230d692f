"""Finding added tokens in a text before the vocabulary sees the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel


class AddedTokenSplitter:
    """Cuts a text at added tokens, with the matching rules (longest first, lstrip, rstrip) of tokenizers.

    The library's tokenizer gets a vocabulary without words: all but the added tokens is its unknown token.
    """

    def __init__(self, tokens: Mapping[int, AddedToken]) -> None:
        self._backend = Tokenizer(WordLevel({"": 0}, unk_token=""))
        self._backend.add_tokens(list(tokens.values()))
        self._ids = {self._backend.token_to_id(token.content): token_id for token_id, token in tokens.items()}

    def split(self, text: str) -> Iterator[int | str]:
        """The pieces of ``text`` in order: an added token as its id, what is between as it is."""
        (encoding,) = self._backend.encode_batch([text])  # as a batch, which lets other threads run meanwhile
        for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            yield self._ids[index] if index else text[start:end]
