"""Texts that are cut to so many tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from llmrt.errors import RequestError
from llmrt.text.tokenizer import Tokenizer

TruncationSide = Literal["left", "right"]


@dataclass(frozen=True)
class Truncation:
    """What is longer loses tokens on one ``side`` until ``limit`` are left, which is 1 or more."""

    limit: int
    side: TruncationSide = "right"

    def of_ids(self, token_ids: list[int]) -> list[int]:
        """The first ``limit`` of them, or the last."""
        return token_ids[: self.limit] if self.side == "right" else token_ids[-self.limit :]

    def of_text(self, tokenizer: Tokenizer, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of ``text``. What the tokenizer adds around it counts, and stays.

        Raises ``RequestError`` where that leaves no room for the text.
        """
        whole = tokenizer.encode(text, add_special_tokens=add_special_tokens)
        if len(whole) <= self.limit:
            return whole
        bare = tokenizer.encode(text, add_special_tokens=False)
        num_added = len(whole) - len(bare)
        if num_added >= self.limit:
            message = f"truncate_prompt_tokens is {self.limit}, but {num_added} tokens are added around a text."
            raise RequestError(message, param="truncate_prompt_tokens")
        start = max(i for i in range(num_added + 1) if whole[i : i + len(bare)] == bare)
        kept = replace(self, limit=self.limit - num_added).of_ids(bare)
        return [*whole[:start], *kept, *whole[start + len(bare) :]]
