"""The blocks of an answer are the same however its tokens come: one by one, or several at once."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from llmrt.engine.messages import Submit
from llmrt.engine.request import RequestOutput, SamplingParams, TokenLogprob
from llmrt.server.blocks import whole_answer
from llmrt.server.choice import Delta
from llmrt.server.generation import Job, run
from llmrt.text.answer_format import AnswerFormat
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt.text.reasoning import find_reasoning_format
from llmrt.text.tokenizer import Tokenizer
from llmrt.text.tool_formats.hermes import HermesFormat

ANSWER = AnswerFormat(
    reasoning=find_reasoning_format("<think></think>"), tools=HermesFormat(), tool_names={"look", "tell"}
)
LOOK, TELL = (
    f"<tool_call>\n{json.dumps({'name': name, 'arguments': {'of': name}})}\n</tool_call>" for name in ("look", "tell")
)


class InGroups:
    """An engine that answers with given tokens, so many at a time."""

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        self._groups = groups

    async def generate(self, requests: Sequence[Submit]) -> AsyncGenerator[RequestOutput, None]:
        for position, group in enumerate(self._groups):
            reason = "length" if position == len(self._groups) - 1 else None
            logprobs = tuple(TokenLogprob(token_id, -1.0, 1) for token_id in group)
            yield RequestOutput(requests[0].request_id, tuple(group), reason, logprobs)

    def abort(self, request_id: str) -> None:
        pass


def groups_of(token_ids: Sequence[int]) -> Iterator[list[Sequence[int]]]:
    yield [token_ids]
    yield [[token_id] for token_id in token_ids]
    draw = random.Random(len(token_ids))
    for _ in range(20):
        cuts = sorted(draw.sample(range(1, len(token_ids)), k=draw.randrange(len(token_ids) // 2)))
        yield [token_ids[a:b] for a, b in pairwise([0, *cuts, len(token_ids)])]


@pytest.fixture(scope="module")
def tokenizer(model_path: Path) -> Tokenizer:
    return load_tokenizer(model_path)


@pytest.mark.parametrize(
    ("text", "stop", "blocks"),
    [
        (
            f"<think>Hm.</think>I look.{LOOK}And then I tell.{TELL}{LOOK}Done.",
            (),
            [
                ("reasoning", "Hm."),
                ("text", "I look."),
                ("call", '{"of": "look"}'),
                ("text", "And then I tell."),
                ("call", '{"of": "tell"}'),
                ("call", '{"of": "look"}'),
                ("text", "Done."),
            ],
        ),
        # What may become a stop string is withheld, but not beyond the call.
        (f"I E{LOOK}ND", ("END",), [("text", "I E"), ("call", '{"of": "look"}'), ("text", "ND")]),
        (f"I END{LOOK}", ("ENDS", "ND"), [("text", "I E")]),
        (f"I{LOOK}am at the END{TELL}", ("END",), [("text", "I"), ("call", '{"of": "look"}'), ("text", "am at the ")]),
    ],
)
async def test_parts_are_in_the_order_of_the_answer(
    tokenizer: Tokenizer, text: str, stop: tuple[str, ...], blocks: list[tuple[str, str]]
) -> None:
    token_ids = [*text.encode()]
    job = Job(
        id="x",
        prompts=[[4]],
        max_tokens=[None],
        params=SamplingParams(logprobs=0),
        n=1,
        stop=stop,
        strip_leading_space=False,
        answer=ANSWER,
    )
    for groups in groups_of(token_ids):
        engine: Any = InGroups(groups)
        deltas: list[Delta] = []
        whole = (await whole_answer(run(engine, tokenizer, job, deltas.append))).whole
        assert [(block.kind, block.text) for block in whole] == blocks, groups
        for block in whole:
            scored = b"".join(token.data for token in block.logprobs).decode()
            assert scored == (block.text if block.kind == "text" else "")
        assert all(bool(delta.text) + bool(delta.reasoning) + bool(delta.calls) <= 1 for delta in deltas)
        given = [token_id for delta in deltas for token_id in delta.token_ids]
        assert given == token_ids[: len(given)] and (stop or given == token_ids)
