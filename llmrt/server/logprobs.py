"""Log-probabilities in the two forms of OpenAI's API. JSON has no infinity: -9999 stands for it, as there."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmrt.server.choice import ReportedToken
from llmrt.server.responses import ChatLogprobs, ChatTokenLogprob, CompletionLogprobs, TopLogprob
from llmrt.text.tokenizer import Tokenizer

_IMPOSSIBLE = -9999.0


def chat_logprobs(tokenizer: Tokenizer, tokens: Sequence[ReportedToken]) -> ChatLogprobs:
    """The chat form: every token with its bytes, so that a character over several tokens can be put together."""
    return ChatLogprobs([_chat_token(tokenizer, token) for token in tokens])


def completion_logprobs(
    tokenizer: Tokenizer, tokens: Sequence[ReportedToken], first_offset: int, num_top: int
) -> CompletionLogprobs:
    """The completions form. ``first_offset`` is where the answer begins in the choice's text (after an echo)."""
    tops = [
        {_name(tokenizer.token_bytes(token_id)): _finite(value) for token_id, value in token.logprob.top}
        for token in tokens
    ]
    return CompletionLogprobs(
        tokens=[_name(token.data) for token in tokens],
        token_logprobs=[_finite(token.logprob.logprob) for token in tokens],
        top_logprobs=tops if num_top else None,
        text_offset=[first_offset + token.offset for token in tokens],
    )


def _chat_token(tokenizer: Tokenizer, token: ReportedToken) -> ChatTokenLogprob:
    tops = [_top(tokenizer.token_bytes(token_id), value) for token_id, value in token.logprob.top]
    chosen = _top(token.data, token.logprob.logprob)
    return ChatTokenLogprob(chosen.token, chosen.logprob, chosen.bytes, tops)


def _top(data: bytes, logprob: float) -> TopLogprob:
    return TopLogprob(_escaped(data), _finite(logprob), list(data))


def _escaped(data: bytes) -> str:
    r"""The text of ``data``, in which a byte of an incomplete character reads ``\xe2``."""
    return data.decode("utf-8", errors="backslashreplace")


def _name(data: bytes) -> str:
    text = _escaped(data)
    return text if text.encode("utf-8") == data else f"bytes:{text}"


def _finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else _IMPOSSIBLE
