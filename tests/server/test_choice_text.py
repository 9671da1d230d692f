"""The text of a choice where the vocabulary writes a space before every text, as sentencepiece's does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models

from llmrt.engine.messages import Submit
from llmrt.engine.request import RequestOutput, SamplingParams, TokenLogprob
from llmrt.server.choice import Delta
from llmrt.server.generation import Job, collect, run
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt.text.tokenizer import Tokenizer

VOCAB = {"<unk>": 0, "\u2581Hello": 1, "\u2581world": 2, "\u2581": 3, "x": 4}


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE(vocab=VOCAB, merges=[], unk_token="<unk>"))
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    backend.save(str(tmp_path / "tokenizer.json"))
    return load_tokenizer(tmp_path)


class OneByOne:
    """An engine that answers with given tokens."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        self._token_ids = token_ids

    async def generate(self, requests: Sequence[Submit]) -> AsyncGenerator[RequestOutput, None]:
        for position, token_id in enumerate(self._token_ids):
            reason = "length" if position == len(self._token_ids) - 1 else None
            logprobs = (TokenLogprob(token_id, -1.0, 1),)
            yield RequestOutput(requests[0].request_id, (token_id,), reason, logprobs)


async def answer(tokenizer: Tokenizer, token_ids: Sequence[int], *, strip: bool) -> tuple[str, bytes]:
    job = Job(
        id="x",
        prompts=[[4]],
        max_tokens=[None],
        params=SamplingParams(logprobs=0),
        n=1,
        stop=(),
        strip_leading_space=strip and tokenizer.strips_leading_space,
    )
    engine: Any = OneByOne(token_ids)
    deltas: list[Delta] = []
    (whole,) = await collect(run(engine, tokenizer, job, deltas.append), 1)
    assert "".join(delta.text for delta in deltas) == whole.text
    return whole.text, b"".join(token.data for token in whole.logprobs)


@pytest.mark.parametrize(
    ("token_ids", "stripped", "kept"),
    [
        ([1, 2], "Hello world", " Hello world"),
        ([3, 1], " Hello", "  Hello"),
        ([4, 2], "x world", "x world"),
        ([3], "", " "),
    ],
)
async def test_c23_the_space_before_a_text_is_in_neither_text_nor_bytes(
    tokenizer: Tokenizer, token_ids: list[int], stripped: str, kept: str
) -> None:
    assert await answer(tokenizer, token_ids, strip=True) == (stripped, stripped.encode())
    assert await answer(tokenizer, token_ids, strip=False) == (kept, kept.encode())
