"""Token ids to text as they come, up to a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence

from llmrt.errors import RequestError
from llmrt.text.tokenizer import Tokenizer


class Detokenizer:
    """The text of one answer, given out as soon as no later token can change it.

    A character whose bytes are spread over tokens waits for its last byte, and an end of the text that may
    become a stop string waits until that is decided. What was given out, joined, is the text of all tokens
    cut before the stop string that begins first, however the tokens were split over the calls.

    ``stopped`` is the stop string that was found. ``token_offsets`` has for each token pushed before that the
    index of the character its text begins in; from the cut on, an offset is at or past the end of the text.
    ``strip_leading_space`` drops the space that some vocabularies put before a text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        stop: Sequence[str] = (),
        skip_special_tokens: bool = True,
        strip_leading_space: bool = False,
    ) -> None:
        if "" in stop:
            raise RequestError("stop holds an empty string; it needs a character.", param="stop")
        self.stopped: str | None = None
        self.token_offsets: list[int] = []
        self._tokenizer = tokenizer
        self._stop = sorted(stop, key=len)  # of two that begin at the same place, the shorter ends first
        self._skip_special_tokens = skip_special_tokens
        self._strip_leading_space = strip_leading_space
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._num_decoded = 0
        self._withheld = ""

    def push(self, token_ids: Iterable[int]) -> str:
        """The text that is certain now; "" once a stop string was found."""
        if self.stopped is not None:
            return ""
        for token_id in token_ids:
            self.token_offsets.append(self._num_decoded)
            if self._has_text(token_id):
                self._decode(self._tokenizer.token_bytes(token_id))
        return self._release(self._first_undecided())

    def finish(self) -> str:
        """What was withheld, at the end of the answer; bytes that are no whole character become U+FFFD."""
        if self.stopped is not None:
            return ""
        self._decode(b"", final=True)
        return self._release(len(self._withheld))

    def _has_text(self, token_id: int) -> bool:
        """False for hidden special tokens, and for ids that exist because the embedding table is padded."""
        if token_id >= self._tokenizer.vocab_size:
            return False
        return not (self._skip_special_tokens and self._tokenizer.is_special(token_id))

    def _decode(self, data: bytes, *, final: bool = False) -> None:
        text = self._decoder.decode(data, final)
        if self._strip_leading_space and text:
            self._strip_leading_space = False
            text = text.removeprefix(" ")
        self._withheld += text
        self._num_decoded += len(text)

    def _first_undecided(self) -> int:
        """Where the first end of the withheld text begins that may still become a stop string."""
        text = self._withheld
        longest = len(self._stop[-1]) if self._stop else 0
        for start in range(max(0, len(text) - longest + 1), len(text)):
            if any(stop.startswith(text[start:]) for stop in self._stop):
                return start
        return len(text)

    def _release(self, end: int) -> str:
        """Give out the withheld text up to ``end``, or up to a stop string that begins before."""
        found = [(start, stop) for stop in self._stop if (start := self._withheld.find(stop)) >= 0]
        start, stop = min(found, key=lambda pair: pair[0], default=(end, None))
        if start <= end and stop is not None:
            self.stopped, released, self._withheld = stop, self._withheld[:start], ""
        else:
            released, self._withheld = self._withheld[:end], self._withheld[end:]
        return released
