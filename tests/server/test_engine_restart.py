"""An engine that dies is followed by another: how soon, how often, and what requests see meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import aclosing, nullcontext, suppress
from pathlib import Path

import psutil
import pytest
from serving import PATIENCE, WORKER, eventually, is_running

from llmrt.config import EngineConfig
from llmrt.engine.messages import Submit
from llmrt.engine.request import SamplingParams
from llmrt.errors import EngineDeadError, EngineLoadingError, LlmrtError
from llmrt.server import engine_process
from llmrt.server.backoff import Backoff
from llmrt.server.engine_client import EngineClient
from llmrt.server.engine_process import EngineProcess
from llmrt.server.metrics import Metrics
from llmrt.server.standstill import processor_seconds, standstill


def test_waits_double_up_to_a_bound_and_start_anew_after_a_healthy_life() -> None:
    backoff = Backoff(first=1, most=10, healthy=60, max_deaths=7)
    assert [backoff.after(life) for life in (100, 0, 59, 0, 0, 0)] == [1, 2, 4, 8, 10, 10]
    assert backoff.after(60) == 1
    assert [backoff.after(0) for _ in range(6)] == [2, 4, 8, 10, 10, None]


async def client_of(path: Path, backoff: Backoff) -> EngineClient:
    metrics = Metrics().of_model("m")
    client = EngineClient(path, EngineConfig(), WORKER, name="m", metrics=metrics, backoff=backoff)
    await client.start()
    await client.ready()
    return client


async def ask(client: EngineClient, text: str) -> int:
    """How many tokens the answer has."""
    submit = Submit("id", [*text.encode()], SamplingParams(max_tokens=20))
    async with aclosing(client.generate([submit])) as outputs:
        return sum([len(output.token_ids) async for output in outputs])


async def is_back(client: EngineClient) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _ = client.info
                return
            except (EngineLoadingError, EngineDeadError) as error:
                assert 0 < error.retry_after < 60
                await asyncio.sleep(0.01)


async def test_every_death_is_followed_by_an_engine_that_answers(model_path: Path) -> None:
    client = await client_of(model_path, Backoff(first=0.01, healthy=0))
    pids = {client.pid}
    for number in range(1, 3):
        reading = asyncio.create_task(ask(client, "@hang"))
        while not client.num_open:
            await asyncio.sleep(0)
        os.kill(client.pid, signal.SIGKILL)
        with pytest.raises(EngineDeadError, match="memory"):
            await reading
        await is_back(client)
        pids.add(client.pid)
        assert await ask(client, "well") == 20 and client.num_restarts == number
    assert len(pids) == 3
    await client.close()
    assert not any(map(is_running, pids))
    await client.ended()  # by being closed, which is no failure


async def test_an_engine_that_dies_again_and_again_is_given_up_with_the_reason(model_path: Path) -> None:
    client = await client_of(model_path, Backoff(first=0.01, max_deaths=3))
    for _ in range(3):
        await is_back(client)
        with pytest.raises(EngineDeadError):
            await ask(client, "@die")
    with pytest.raises(LlmrtError, match=r"3 times in a row.*SIGKILL"):
        await client.ended()
    await client.close()


async def test_a_second_start_that_fails_is_tried_again(
    model_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved = tmp_path / "model"
    moved.symlink_to(model_path)
    client = await client_of(moved, Backoff(first=0.3, most=0.3))
    os.kill(client.pid, signal.SIGKILL)
    moved.unlink()
    while client.num_restarts < 2:
        await asyncio.sleep(0.01)
    moved.symlink_to(model_path)
    await is_back(client)
    assert await ask(client, "well") == 20
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == client.num_restarts  # each end once
    await client.close()


async def test_closing_while_an_engine_is_being_restarted_leaves_none(model_path: Path) -> None:
    client = await client_of(model_path, Backoff(first=60))
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(EngineLoadingError, match="started again"):
        while True:
            with suppress(EngineDeadError):
                _ = client.info
            await asyncio.sleep(0)
    await client.close()
    assert not is_running(client.pid)


async def test_an_engine_that_stands_still_is_followed_by_one_that_answers(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(engine_process, "_REST_SECONDS", 2)  # for the first one
        client = await client_of(model_path, Backoff(first=0.01, healthy=0))
    stopped = client.pid
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(EngineDeadError, match="did nothing for 2 s"):
        await ask(client, "hello")
    await is_back(client)
    assert client.pid != stopped and not is_running(stopped)
    assert await ask(client, "hello") > 0
    await client.close()


async def test_an_engine_that_stands_still_while_it_loads_is_ended(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_process, "_REST_SECONDS", 0.8)
    process = await EngineProcess.start(model_path, EngineConfig(device="slow"), WORKER)
    with pytest.raises(LlmrtError, match=r"was loading its model and did nothing for 0\.8 s"):
        await process.ready()
    await process.close()
    assert not is_running(process.pid)


@pytest.mark.parametrize(
    ("signs", "has_work", "stands_still"),
    [([*range(20)], True, False), ([0] * 20, True, True), ([0] * 20, False, False)],
)
async def test_a_long_step_and_a_rest_are_no_standstill(signs: list[float], has_work: bool, stands_still: bool) -> None:
    with nullcontext() if stands_still else pytest.raises(IndexError):  # no sign is left
        await standstill(signs.pop, lambda: has_work, 0)


def test_a_process_that_works_gives_signs_of_life() -> None:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    before = processor_seconds(process.pid)
    eventually(lambda: processor_seconds(process.pid) > before)
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    assert processor_seconds(process.pid) == processor_seconds(process.pid)
    process.kill()
    process.wait()
