"""Steps that are handed over to a device give the tokens of steps that wait, whatever the device's pace."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from llmrt.engine.adapters import Adapters
from llmrt.engine.kv import disk_cache
from llmrt.engine.kv.disk_cache import DiskCache
from llmrt.engine.kv.disk_store import DiskStore
from llmrt.engine.kv.manager import KVCacheManager, blocks_for, peak_blocks
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading import build
from llmrt.engine.loading.adapter_weights import AdapterWeights
from llmrt.engine.request import Request, RequestOutput, SamplingParams, empty_table
from llmrt.engine.runners.block_tables import BlockTables
from llmrt.engine.runners.cpu_runner import CpuRunner
from llmrt.engine.runners.gpu_runner import GpuRunner
from llmrt.engine.runners.graphs import rows_for
from llmrt.engine.runners.kv_pages import pages_of
from llmrt.engine.scheduler import Scheduler
from llmrt.engine.speculation.speculation import Speculation
from llmrt.model.kv_cache import KVCache
from tests.engines import open_engine, run, tokens
from tests.scripted import Remembered, verify_some_guesses
from tests.scripted_device import ScriptedDevice
from tests.tiny import make_model, save_model

CONTEXT, MAX_SEQS, BUDGET = 96, 11, 32


@pytest.fixture(scope="module")
def waiting(folder: Path) -> LLMEngine:
    """An engine that waits for each step."""
    return open_engine(folder, context_length=CONTEXT, max_num_seqs=MAX_SEQS, max_num_batched_tokens=BUDGET)


def on_device(
    waiting: LLMEngine,
    device: ScriptedDevice,
    *,
    block_size: int,
    extra_blocks: int,
    disk: DiskStore | None = None,
    speculation: Speculation | None = None,
) -> LLMEngine:
    """The same model on ``device``, with a pool of its own."""
    runner = waiting._runner
    assert isinstance(runner, CpuRunner)
    decoder = runner._decoder
    window = decoder.config.sliding_window
    num_blocks = 1 + peak_blocks(CONTEXT, BUDGET, block_size, window) + extra_blocks
    kv = KVCache.allocate(decoder.config, num_blocks, block_size, torch.float32, device.device)
    for layer in kv.layers:
        for pages in (layer.k, layer.v):
            pages.fill_(float("nan"))
    max_blocks = blocks_for(CONTEXT, block_size)
    scheduler = Scheduler(
        KVCacheManager(
            num_blocks,
            block_size,
            sliding_window=window,
            disk=None if disk is None else DiskCache(disk, pages_of(kv, device), pytest.fail),
        ),
        max_num_seqs=MAX_SEQS,
        max_num_batched_tokens=BUDGET,
        context_length=CONTEXT,
    )
    runner = GpuRunner(decoder, kv, device, block_size=block_size, max_num_seqs=MAX_SEQS, max_blocks=max_blocks)
    adapters = Adapters(AdapterWeights(decoder, runner.forget_adapters, lambda: 1 << 30))
    return LLMEngine(scheduler, runner, adapters=adapters, speculation=speculation)


def random_requests(rng: random.Random, count: int) -> list[tuple[list[int], SamplingParams]]:
    shared = rng.choices(range(3, 128), k=40)
    return [
        (
            shared[: rng.choice([0, 0, 20, 40])] + rng.choices(range(3, 128), k=rng.randrange(1, 12)),
            SamplingParams(
                temperature=rng.choice([0, 0, 0, 0.8]),
                top_k=rng.choice([0, 0, 5]),
                top_p=rng.choice([1, 1, 0.7]),
                min_p=rng.choice([0, 0, 0.1]),
                seed=rng.choice([i, -i, (1 << 64) - i]),
                repetition_penalty=rng.choice([1] * 20 + [1.3]),
                bad_words=rng.choice([()] * 20 + [((5,), (6, 7))]),
                max_tokens=rng.randrange(1, 40),
                stop_token_ids=frozenset(rng.sample(range(128), rng.choice([0, 4]))),
            ),
        )
        for i in range(count)
    ]


def answers(
    engine: LLMEngine, requests: list[tuple[list[int], SamplingParams]], rng: random.Random
) -> dict[str, list[RequestOutput]]:
    """Add the requests as ``rng`` says and step until all are answered."""
    left = {str(i): request for i, request in enumerate(requests)}
    got: dict[str, list[RequestOutput]] = {name: [] for name in left}
    while left or engine.has_work:
        while left and rng.random() < 0.5:
            name = next(iter(left))
            engine.add(name, *left.pop(name))
        for output in engine.step() if engine.has_work else []:
            got[output.request_id].append(output)
        engine.scheduler.check_integrity()
    return got


@pytest.mark.parametrize("seed", range(4))
def test_random_schedules_give_the_tokens_of_an_engine_that_waits(waiting: LLMEngine, seed: int) -> None:
    rng = random.Random(seed)
    device = ScriptedDevice(rng)
    engine = on_device(waiting, device, block_size=rng.choice([4, 16]), extra_blocks=rng.choice([0, 4, 60]))
    requests = random_requests(rng, 14)
    if seed % 2:
        engine.warm_up()  # which writes where nobody reads
    expected, got = answers(waiting, requests, rng), answers(engine, requests, rng)
    for name, outputs in expected.items():
        assert tokens(got[name]) == tokens(outputs)
        assert [output.finish_reason for output in got[name]] == [output.finish_reason for output in outputs]
    assert device.num_replayed > 0 < device.num_run


@pytest.mark.parametrize("seed", range(2))
def test_guesses_change_no_token(waiting: LLMEngine, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they are right or wrong, and tokens the likeliest, drawn, or chosen by the host for their report."""
    rng = random.Random(seed)

    verify_some_guesses(monkeypatch, rng)
    requests = [
        (prompt, replace(params, logprobs=2 if rng.random() < 0.1 else None))
        for prompt, params in random_requests(rng, 14)
    ]
    expected = answers(waiting, requests, rng)
    engine = on_device(
        waiting,
        device := ScriptedDevice(rng),
        block_size=rng.choice([4, 16]),
        extra_blocks=rng.choice([4, 60]),
        speculation=Speculation(Remembered({name: tokens(outputs) for name, outputs in expected.items()})),
    )
    got = answers(engine, requests, rng)
    for name, outputs in expected.items():
        assert tokens(got[name]) == tokens(outputs)
        assert got[name][-1].finish_reason == outputs[-1].finish_reason
        assert num_reports(got[name]) == num_reports(outputs)
    assert 0 < engine.stats.num_accepted_tokens < engine.stats.num_draft_tokens
    assert device.num_replayed > 0


def test_a_device_guesses_when_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_model(make_model("llama"), tmp_path)
    monkeypatch.setattr(build, "_step_device", lambda *_: ScriptedDevice(random.Random(0)))
    assert open_engine(folder, speculate="auto")._speculation is None
    told = open_engine(folder, speculate="ngram")
    params = SamplingParams(temperature=0, max_tokens=9)
    for engine in (told, plain := open_engine(folder)):
        engine.add("r", [5, 6, 7, 5, 6, 7], params)
    assert tokens(run(told)["r"]) == tokens(run(plain)["r"])


def num_reports(outputs: list[RequestOutput]) -> int:
    return sum(len(output.logprobs or ()) for output in outputs)


@pytest.mark.parametrize("seed", range(3))
def test_prefixes_from_disk_give_the_same_tokens(
    waiting: LLMEngine, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache, "_SHORTEST_PROMPT", 8)
    rng = random.Random(seed)
    requests = random_requests(rng, 10)
    expected = answers(waiting, requests, rng)
    for is_again in (False, True):
        disk = DiskStore(tmp_path, "model", b"f" * 16, 1 << 30)
        engine = on_device(waiting, ScriptedDevice(rng), block_size=4, extra_blocks=rng.choice([4, 60]), disk=disk)
        got = answers(engine, requests, rng)
        assert {name: tokens(outputs) for name, outputs in got.items()} == {
            name: tokens(outputs) for name, outputs in expected.items()
        }
        assert engine.stats.disk_hits > 0 or not is_again


def test_a_steady_decode_is_one_graph_replayed(waiting: LLMEngine) -> None:
    device = ScriptedDevice(random.Random(0))
    engine = on_device(waiting, device, block_size=16, extra_blocks=60)
    for i in range(3):
        engine.add(str(i), [5, 6, 7 + i], SamplingParams(temperature=0, max_tokens=50))
    while engine.has_work:
        engine.step()
    assert (device.num_run, device.num_captured, device.num_replayed) == (1, 1, 48)


def test_graphs_keep_no_logits_but_those_that_the_host_chooses_by(waiting: LLMEngine) -> None:
    """Graphs have their memory in common, but for what each returns: logits of all of them would fill a card."""
    engine = on_device(waiting, ScriptedDevice(random.Random(0)), block_size=16, extra_blocks=60)
    for i, params in enumerate(({}, {"logprobs": 1})):
        engine.add(str(i), [5, 6, 7], SamplingParams(temperature=0, max_tokens=9, **params))
        while engine.has_work:
            engine.step()
    graphs = engine._runner._graphs._graphs
    assert sorted(graph.result.dim() for graph in graphs.values()) == [1, 2]


def test_what_is_uploaded_lies_where_kernels_are_compiled_for(waiting: LLMEngine) -> None:
    engine = on_device(waiting, device := ScriptedDevice(random.Random(0)), block_size=16, extra_blocks=0)
    tensors = {str(size): torch.arange(size).view(shape) for size, shape in ((3, (3,)), (6, (2, 3)), (0, (0,)))}
    copied = engine._runner._copied(tensors)
    device.event().wait()
    assert all(torch.equal(copied[name], tensor) for name, tensor in tensors.items())
    assert all(tensor.data_ptr() % 16 == 0 for tensor in copied.values())


def test_graphs_serve_a_few_numbers_of_rows() -> None:
    assert sorted({rows_for(count) for count in range(1, 41)}) == [1, 2, 4, 8, 16, 24, 32, 40]
    assert all(rows_for(count) >= count for count in range(1, 200))


def test_block_tables_follow_requests_that_grow_leave_and_are_preempted() -> None:
    rng = random.Random(1)
    tables, out = BlockTables(3, 8), np.zeros((3, 8), dtype=np.int64)
    requests = [Request(str(i), [1], SamplingParams()) for i in range(5)]
    for _ in range(200):
        chosen = rng.sample(requests, rng.randint(1, 3))
        for request in chosen:
            if rng.random() < 0.2 or len(request.block_table) == 8:
                request.block_table = empty_table()
            request.block_table.extend(rng.choices(range(1, 99), k=rng.randint(not request.block_table, 1)))
        tables.gather(chosen, out[: len(chosen)])
        for request, row in zip(chosen, out, strict=False):
            assert row[: len(request.block_table)].tolist() == list(request.block_table)
