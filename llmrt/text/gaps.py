"""A gap in a text: what is before it and after it, between the marks that models for code were trained with."""

from __future__ import annotations

from llmrt.errors import RequestError
from llmrt.text.tokenizer import Tokenizer

# Before the text, between it and what follows the gap, and at the end, where the model goes on with the gap.
_MARKS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder
    ("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"),  # DeepSeek-Coder
)


def gap_prompt(tokenizer: Tokenizer, before: str, after: str, *, add_special_tokens: bool) -> list[int]:
    """The prompt whose continuation fills the gap. Raises ``RequestError`` for a model that was not trained to."""
    for marks in _MARKS:
        ids = [tokenizer.encode(mark, add_special_tokens=False) for mark in marks]
        single = {tuple(one) for one in ids if len(one) == 1}
        if len(single) == len(marks):  # a token each, and not the one for all that is unknown
            start = tokenizer.encode(marks[0], add_special_tokens=add_special_tokens)
            return [*start, *_text(tokenizer, before), *ids[1], *_text(tokenizer, after), *ids[2]]
    raise RequestError(
        "suffix needs a model that fills gaps; this one's vocabulary has no marks for them.", param="suffix"
    )


def _text(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False, parse_special=False)
