"""Log-probabilities in the two forms of OpenAI's API, and those of prompts in vLLM's.

JSON has no infinity: -9999 stands for it, as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmrt.engine.request import TokenLogprob
from llmrt.server.choice import ReportedToken
from llmrt.server.responses import (
    ChatLogprobs,
    ChatTokenLogprob,
    CompletionLogprobs,
    PromptLogprob,
    PromptLogprobs,
    TopLogprob,
)
from llmrt.text.detokenizer import Detokenizer
from llmrt.text.tokenizer import Tokenizer

_IMPOSSIBLE = -9999.0


def chat_logprobs(tokenizer: Tokenizer, tokens: Sequence[ReportedToken]) -> ChatLogprobs:
    """The chat form: every token with its bytes, so that a character over several tokens can be put together."""
    return ChatLogprobs([_chat_token(tokenizer, token) for token in tokens])


def completion_logprobs(
    tokenizer: Tokenizer, tokens: Sequence[ReportedToken], first_offset: int, num_top: int
) -> CompletionLogprobs:
    """The completions form. ``first_offset`` is where the answer begins in the choice's text (after an echo)."""
    tops: list[dict[str, float] | None] = [
        {_name(tokenizer.token_bytes(token_id)): _finite(value) for token_id, value in token.logprob.top}
        for token in tokens
    ]
    return CompletionLogprobs(
        tokens=[_name(token.data) for token in tokens],
        token_logprobs=[_finite(token.logprob.logprob) for token in tokens],
        top_logprobs=tops if num_top else None,
        text_offset=[first_offset + token.offset for token in tokens],
    )


def prompt_logprobs(tokenizer: Tokenizer, logprobs: Sequence[TokenLogprob]) -> PromptLogprobs:
    """vLLM's form, from the log-probabilities of a prompt's tokens but the first."""
    return [None, *(_by_id(tokenizer, logprob) for logprob in logprobs)]


def _by_id(tokenizer: Tokenizer, token: TokenLogprob) -> dict[int, PromptLogprob]:
    tops = ((token_id, value, rank) for rank, (token_id, value) in enumerate(token.top, 1))
    return {
        token_id: PromptLogprob(_finite(value), rank, tokenizer.token_bytes(token_id).decode("utf-8", "replace"))
        for token_id, value, rank in [(token.token_id, token.logprob, token.rank), *tops]
    }


def with_prompt(
    tokenizer: Tokenizer,
    token_ids: Sequence[int],
    logprobs: Sequence[TokenLogprob],
    text: str,
    answer: CompletionLogprobs,
) -> CompletionLogprobs:
    """``answer`` behind the tokens of the prompt, whose ``text`` stands before its own."""
    offsets = _offsets(tokenizer, token_ids, text)
    tokens = [
        ReportedToken(offset, tokenizer.token_bytes(logprob.token_id), logprob)
        for offset, logprob in zip(offsets[1:], logprobs, strict=True)
    ]
    prompt = completion_logprobs(tokenizer, tokens, 0, 1)
    tops: list[dict[str, float] | None] | None = None
    if answer.top_logprobs is not None:
        tops = [None, *(prompt.top_logprobs or ()), *answer.top_logprobs]
    return CompletionLogprobs(
        tokens=[_name(tokenizer.token_bytes(token_ids[0])), *prompt.tokens, *answer.tokens],
        token_logprobs=[None, *prompt.token_logprobs, *answer.token_logprobs],
        top_logprobs=tops,
        text_offset=offsets + answer.text_offset,
    )


def _offsets(tokenizer: Tokenizer, token_ids: Sequence[int], text: str) -> list[int]:
    """Where the tokens of ``text`` begin in it. A token that was put before it, or a space, is no part of it."""
    detokenizer = Detokenizer(tokenizer, skip_special_tokens=False)
    detokenizer.push(token_ids)
    detokenizer.finish()
    excess = detokenizer.num_decoded - len(text)
    return [max(0, offset - excess) for offset in detokenizer.token_offsets]


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
