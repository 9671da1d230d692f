"""Token ids to text as they come, up to a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterable, Sequence

from llmrt.text.stop_strings import StopStrings
from llmrt.text.tokenizer import Tokenizer


class Detokenizer:
    """The text of one answer, given out as soon as no later token can change it.

    A character whose bytes are spread over tokens waits for its last byte, and an end of the text that may
    become a stop string waits until that is decided. What was given out, joined, is the text of all tokens
    cut before the stop string that begins first, however the tokens were split over the calls.

    ``stopped`` is the stop string that was found. ``token_offsets`` has for each token pushed before that the
    index of the character its text begins in; from the cut on, an offset is at or past the end of the text.
    ``strip_leading_space`` drops the space that some vocabularies put before a text. Special tokens have no text
    unless they are among ``visible``, or all are shown.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        stop: Sequence[str] = (),
        skip_special_tokens: bool = True,
        visible: Collection[int] = (),
        strip_leading_space: bool = False,
    ) -> None:
        self.token_offsets: list[int] = []
        self._tokenizer = tokenizer
        self._stop = StopStrings(stop)
        self._skip_special_tokens = skip_special_tokens
        self._visible = visible
        self._strip_leading_space = strip_leading_space
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._num_decoded = 0

    @property
    def stopped(self) -> str | None:
        """The stop string that ended the text."""
        return self._stop.stopped

    @property
    def num_decoded(self) -> int:
        """Characters of all tokens so far, those that are withheld too."""
        return self._num_decoded

    def push(self, token_ids: Iterable[int]) -> str:
        """The text that is certain now; "" once a stop string was found."""
        if self.stopped is not None:
            return ""
        text = ""
        for token_id in token_ids:
            self.token_offsets.append(self._num_decoded)
            if self._has_text(token_id):
                text += self._decode(self._tokenizer.token_bytes(token_id))
        return self._stop.push(text)

    def finish(self) -> str:
        """What was withheld, at the end of the answer; bytes that are no whole character become U+FFFD."""
        if self.stopped is not None:
            return ""
        return self._stop.push(self._decode(b"", final=True)) + self._stop.finish()

    def _has_text(self, token_id: int) -> bool:
        """False for hidden special tokens, and for ids that exist because the embedding table is padded."""
        if token_id >= self._tokenizer.vocab_size:
            return False
        hidden = self._skip_special_tokens and token_id not in self._visible
        return not (hidden and self._tokenizer.is_special(token_id))

    def _decode(self, data: bytes, *, final: bool = False) -> str:
        text = self._decoder.decode(data, final)
        if self._strip_leading_space and text:
            self._strip_leading_space = False
            text = text.removeprefix(" ")
        self._num_decoded += len(text)
        return text
