"""The border of the engine process, both sides, without HTTP."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from serving import WORKER

from llmrt.config import EngineConfig
from llmrt.engine.channel import HEADER, Channel, encode_frame
from llmrt.engine.messages import Abort, FromEngine, Outputs, Submit
from llmrt.engine.request import RequestOutput, SamplingParams, TokenLogprob
from llmrt.errors import EngineDeadError, EngineLoadingError, LlmrtError
from llmrt.server.engine_process import EngineProcess
from llmrt.server.metrics import Metrics
from llmrt.text.load_tokenizer import load_tokenizer

PARAMS = SamplingParams(logit_bias={3: -1.5}, stop_token_ids=frozenset({267}), seed=2**63 - 1, max_tokens=20)


def submit(request_id: str, text: str) -> Submit:
    return Submit(request_id, [*text.encode()], PARAMS)


async def client_of(path: Path, device: str = "auto") -> EngineProcess:
    return await EngineProcess.start(path, EngineConfig(device=device), WORKER)


def test_frames_come_whole_however_they_are_cut() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(theirs)
        sent = [submit("a", "x" * 100_000), Abort("a"), submit("b", "")]
        data = b"".join(map(encode_frame, sent))
        received = []
        for start in range(0, len(data), 30_011):
            ours.sendall(data[start : start + 30_011])
            received += channel.receive(block=False)
        assert received == sent
        assert channel.receive(block=False) == []
        ours.close()
        with pytest.raises(EOFError):
            channel.receive(block=True)


def test_sending_never_waits_for_the_reader() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(theirs)
        logprobs = (TokenLogprob(1, -0.5, 1, ((1, -0.5), (2, float("-inf")))),)
        output = RequestOutput("a", (1,), logprobs=logprobs)
        for _ in range(20_000):
            channel.send(Outputs([output]))
        data = bytearray()
        while len(data) < 20_000 * len(encode_frame(Outputs([output]))):
            data += ours.recv(1 << 20)
            assert channel.receive(block=False) == []  # sends what waits
        (size,) = HEADER.unpack_from(data)
        assert msgspec.msgpack.decode(data[4 : 4 + size], type=FromEngine) == Outputs([output])


async def test_outputs_of_several_requests_come_until_all_have_finished(model_path: Path) -> None:
    client = await client_of(model_path)
    with pytest.raises(EngineLoadingError):
        _ = client.info
    ready = await client.ready()
    assert client.info == ready and ready.context_length == 512
    texts = {"a": "first", "b": "the second"}
    got: dict[str, list[int]] = {"a": [], "b": []}
    async with aclosing(client.generate([submit(*item) for item in texts.items()], Metrics().of_model(""))) as outputs:
        async for output in outputs:
            got[output.request_id] += output.token_ids
            finished = output.finish_reason
    assert finished == "stop" and client.num_open == 0
    tokenizer = load_tokenizer(model_path)
    assert {name: tokenizer.decode(ids) for name, ids in got.items()} == texts
    await client.close()


async def test_outputs_that_wait_are_one_of_each_request(model_path: Path) -> None:
    client = await client_of(model_path)
    await client.ready()
    texts = {"a": "the first of two: " + "ab" * 20, "b": "and the second: " + "cd" * 20}
    params = SamplingParams(logprobs=1, prompt_logprobs=0, max_tokens=100, stop_token_ids=PARAMS.stop_token_ids)
    got = await _read_late(client, [Submit(name, [*text.encode()], params) for name, text in texts.items()])
    assert max(len(output.token_ids) for output in got) <= 34  # 32, and the engine gives up to three at once
    assert len(got) <= 8  # two of the first step, and two for each 32 of 60 tokens
    tokenizer = load_tokenizer(model_path)
    for name, text in texts.items():
        first, *later = outputs = [output for output in got if output.request_id == name]
        assert tokenizer.decode(token_id for output in outputs for token_id in output.token_ids) == text
        assert [output.finish_reason for output in outputs] == [None] * len(later) + ["stop"]
        assert all(_scored(output) == output.token_ids for output in outputs)
        assert len(first.prompt_logprobs) == len(text) - 1 and not any(output.prompt_logprobs for output in later)
    await client.close()


async def test_a_failure_takes_nothing_along_that_waits(model_path: Path) -> None:
    client = await client_of(model_path)
    await client.ready()
    *got, failure = await _read_late(client, [submit("a", "@fail")])
    assert sum(len(output.token_ids) for output in got) == 5
    assert failure.finish_reason == "error" and not failure.token_ids
    await client.close()


async def _read_late(client: EngineProcess, requests: list[Submit]) -> list[RequestOutput]:
    """The first output, and when the engine has done all of its work the others."""
    async with aclosing(client.generate(requests, Metrics().of_model(""))) as outputs:
        first = await anext(outputs)
        while client.num_open:
            await asyncio.sleep(0.01)
        return [first, *[output async for output in outputs]]


def _scored(output: RequestOutput) -> tuple[int, ...]:
    assert output.logprobs is not None
    return tuple(logprob.token_id for logprob in output.logprobs)


async def test_leaving_early_aborts_and_abort_ends_the_outputs(model_path: Path) -> None:
    client = await client_of(model_path)
    await client.ready()
    async with aclosing(
        client.generate([submit("left", "@hang"), submit("too", "@hang")], Metrics().of_model(""))
    ) as outputs:
        reading = asyncio.ensure_future(anext(outputs))
        while client.num_open < 2:
            await asyncio.sleep(0)
        client.abort("left")
        assert (await reading).finish_reason == "abort"
    assert client.num_open == 0
    text = await _text(client, submit("asked", "@aborted"), model_path)
    assert text == '["left","too"]'
    await client.close()


async def test_a_cancelled_reader_aborts(model_path: Path) -> None:
    client = await client_of(model_path)
    await client.ready()
    reading = asyncio.create_task(_text(client, submit("cancelled", "@hang")))
    while client.num_open < 1:
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await _text(client, submit("asked", "@aborted"), model_path) == '["cancelled"]'
    await client.close()


async def test_death_reaches_every_open_request(model_path: Path) -> None:
    client = await client_of(model_path)
    await client.ready()
    tasks = [asyncio.create_task(_text(client, submit(str(i), "@hang"))) for i in range(3)]
    tasks.append(asyncio.create_task(_text(client, submit("killer", "@die"))))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, EngineDeadError) for result in results)
    with pytest.raises(EngineDeadError, match="SIGKILL"):
        await _text(client, submit("late", "x"))
    await client.close()
    await client.close()


async def test_a_bus_error_says_what_it_may_be_of(model_path: Path) -> None:
    client = await client_of(model_path)
    await client.ready()
    with pytest.raises(EngineDeadError, match=r"SIGBUS.* file is cut short"):
        await _text(client, submit("killer", "@die SIGBUS"))
    await client.close()


async def test_a_model_that_cannot_be_loaded(model_path: Path) -> None:
    client = await client_of(model_path, "broken")
    with pytest.raises(LlmrtError, match="the weights are not there"):
        await client.ready()
    with pytest.raises(EngineDeadError, match="the weights are not there"):
        _ = client.info
    await client.close()


async def _text(client: EngineProcess, request: Submit, path: Path | None = None) -> str:
    tokens: list[int] = []
    async with aclosing(client.generate([request], Metrics().of_model(""))) as outputs:
        async for output in outputs:
            tokens += output.token_ids
    return load_tokenizer(path).decode(tokens) if path else ""
