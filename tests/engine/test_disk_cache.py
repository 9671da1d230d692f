"""Prefixes that outlive the engine: the same tokens as without them, whatever happens to the files. No torch."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llmrt.engine.interleave import Interleave
from llmrt.engine.kv import disk_cache
from llmrt.engine.kv.disk_cache import DiskCache
from llmrt.engine.kv.disk_store import DiskStore
from llmrt.engine.kv.manager import KVCacheManager, peak_blocks
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import RequestOutput, SamplingParams
from llmrt.engine.scheduler import Scheduler
from tests.engines import run
from tests.scripted import CONTEXT, VOCAB, LateScriptedRunner, ScriptedRunner, expected_answer
from tests.scripted_pages import ScriptedPages

PRINT, OTHER_PRINT = b"f" * 16, b"g" * 16
LIMIT = 1 << 30


@pytest.fixture(autouse=True)
def short_prompts_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "_SHORTEST_PROMPT", 8)


def make_engine(
    folder: Path,
    *,
    fingerprint: bytes = PRINT,
    limit: int = LIMIT,
    block_size: int = 4,
    window: int | None = None,
    extra_blocks: int = 60,
    budget: int = 8,
    late: bool = False,
) -> LLMEngine:
    runner = LateScriptedRunner(block_size, window) if late else ScriptedRunner(block_size, window)
    notices: list[str] = []
    disk = DiskCache(DiskStore(folder, "model", fingerprint, limit), ScriptedPages(runner), notices.append)
    num_blocks = 1 + peak_blocks(CONTEXT, budget, block_size, window) + extra_blocks
    kv = KVCacheManager(num_blocks, block_size, sliding_window=window, disk=disk)
    scheduler = Scheduler(kv, max_num_seqs=4, max_num_batched_tokens=budget, context_length=CONTEXT)
    engine = LLMEngine(scheduler, runner, notices)
    if not isinstance(runner, LateScriptedRunner):
        engine._loop = Interleave(scheduler, runner, runner.clock)
    return engine


def ask(engine: LLMEngine, prompt: list[int], max_tokens: int = 5) -> RequestOutput:
    """The last output for ``prompt``, whose answer must be the right one."""
    engine.add("r", prompt, SamplingParams(max_tokens=max_tokens))
    outputs = run(engine)["r"]
    assert [token for output in outputs for token in output.token_ids] == expected_answer(prompt, max_tokens)
    return outputs[-1]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*/*.kv"))


PROMPT = list(range(30))


@pytest.mark.parametrize("late", [False, True])
def test_another_engine_finds_the_prompt_but_not_the_answer(tmp_path: Path, late: bool) -> None:
    first = ask(make_engine(tmp_path, late=late), PROMPT, max_tokens=20)
    assert (first.num_cached_tokens, first.num_disk_tokens) == (0, 0)
    assert len(files(tmp_path)) == 7  # blocks of 4, none of the answer's
    second = make_engine(tmp_path, late=late)
    found = ask(second, PROMPT)
    assert (found.num_cached_tokens, found.num_disk_tokens) == (28, 28)
    assert second.stats.disk_hits == 28 and second.stats.prefix_hits == 0
    again = ask(second, [*PROMPT, 1, 2, 3])
    assert (again.num_cached_tokens, again.num_disk_tokens) == (28, 0)


def test_the_rest_of_a_prefix_in_memory_is_read(tmp_path: Path) -> None:
    ask(make_engine(tmp_path), PROMPT)
    engine = make_engine(tmp_path)
    assert ask(engine, [*PROMPT[:13], 99]).num_disk_tokens == 12
    found = ask(engine, PROMPT)
    assert (found.num_cached_tokens, found.num_disk_tokens) == (28, 16)


def test_a_prompt_that_goes_on_after_an_answer_saves_both(tmp_path: Path) -> None:
    conversation = [*PROMPT, *expected_answer(PROMPT, 12)]
    engine = make_engine(tmp_path)
    ask(engine, PROMPT, max_tokens=12)
    ask(engine, [*conversation, 7, 8, 9])
    assert ask(make_engine(tmp_path), [*conversation, 5, 5, 5, 5]).num_disk_tokens == len(conversation) // 4 * 4


def test_short_prompts_are_not_kept(tmp_path: Path) -> None:
    ask(make_engine(tmp_path), PROMPT[:7])
    assert not files(tmp_path)


def test_a_sliding_window_reads_what_it_sees_alone(tmp_path: Path) -> None:
    ask(make_engine(tmp_path, window=5), PROMPT)
    assert len(files(tmp_path)) == 7
    engine = make_engine(tmp_path, window=5)
    found = ask(engine, PROMPT)
    assert (found.num_cached_tokens, found.num_disk_tokens) == (28, 4)


def test_another_fingerprint_finds_nothing(tmp_path: Path) -> None:
    ask(make_engine(tmp_path), PROMPT)
    assert ask(make_engine(tmp_path, fingerprint=OTHER_PRINT), PROMPT).num_cached_tokens == 0
    theirs, ours = tmp_path / "model" / OTHER_PRINT.hex(), tmp_path / "model" / PRINT.hex()
    for file in ours.iterdir():  # even where it lies in the wrong folder
        file.replace(theirs / file.name)
    assert ask(make_engine(tmp_path, fingerprint=OTHER_PRINT), PROMPT).num_cached_tokens == 0


@pytest.mark.parametrize("at", [0, 20, 35, 50, 60, 500, -1])
def test_a_flipped_bit_is_computed_again(tmp_path: Path, at: int) -> None:
    ask(make_engine(tmp_path), PROMPT)
    third = file_of(tmp_path, PROMPT, 2)
    data = bytearray(third.read_bytes())
    data[at] ^= 1
    third.write_bytes(data)
    assert ask(make_engine(tmp_path), PROMPT).num_cached_tokens == 8
    assert ask(make_engine(tmp_path), PROMPT).num_disk_tokens == 28  # it is there again


@pytest.mark.parametrize("change", [bytes.__add__, lambda data, more: data[:-1]])
def test_a_file_of_another_length_is_computed_again(tmp_path: Path, change: Callable[[bytes, bytes], bytes]) -> None:
    ask(make_engine(tmp_path), PROMPT)
    third = file_of(tmp_path, PROMPT, 2)
    third.write_bytes(change(third.read_bytes(), b"x"))
    assert ask(make_engine(tmp_path), PROMPT).num_cached_tokens == 8


def test_a_file_that_goes_while_the_engine_runs_is_computed_again(tmp_path: Path) -> None:
    ask(make_engine(tmp_path), PROMPT)
    engine = make_engine(tmp_path)
    file_of(tmp_path, PROMPT, 4).unlink()
    assert ask(engine, PROMPT).num_cached_tokens == 16


def file_of(folder: Path, prompt: list[int], block: int) -> Path:
    from llmrt.engine.kv.prefix_cache import extend_block_keys

    keys: list[bytes] = []
    extend_block_keys(keys, prompt, 4)
    (path,) = folder.glob(f"*/*/{keys[block].hex()}.kv")
    return path


def test_requests_with_one_prompt_read_it_once(tmp_path: Path) -> None:
    ask(make_engine(tmp_path), PROMPT)
    engine = make_engine(tmp_path)
    for name in "abc":
        engine.add(name, PROMPT, SamplingParams(max_tokens=3))
    outputs = run(engine)
    assert engine.stats.disk_hits == 28
    assert [outputs[name][-1].num_disk_tokens for name in "abc"] == [28, 0, 0]
    assert [outputs[name][-1].num_cached_tokens for name in "abc"] == [28, 28, 28]


@pytest.mark.parametrize("seed", range(20))
def test_random_engines_on_one_folder_answer_right(tmp_path: Path, seed: int) -> None:
    """Two at a time, with requests that come, leave, preempt each other and share prefixes, on a disk that is small."""
    rng = random.Random(seed)
    block_size, window = rng.choice([1, 4, 16]), rng.choice([None, 5, 16])
    shared = [rng.randrange(VOCAB) for _ in range(40)]
    for late in rng.choices([False, True], k=2):
        limit = rng.choice([10, 40, 1000]) * block_size * 512
        settings = {"block_size": block_size, "window": window, "limit": limit, "late": late}
        engines = [make_engine(tmp_path, extra_blocks=rng.randrange(20), **settings) for _ in range(2)]
        prompts: list[list[int]] = []
        answers: dict[tuple[int, str], list[int]] = {}
        aborted: set[tuple[int, str]] = set()
        for _ in range(60):
            i = rng.randrange(2)
            if rng.random() < 0.3:
                prefix = shared[: rng.randrange(40)]
                prompts.append([*prefix, *(rng.randrange(VOCAB) for _ in range(rng.randrange(1, 10)))])
                for engine in engines:
                    engine.add(str(len(prompts) - 1), prompts[-1], SamplingParams(max_tokens=12))
            if rng.random() < 0.05 and prompts:
                victim = str(rng.randrange(len(prompts)))
                engines[i].abort(victim)
                aborted.add((i, victim))
            step(engines[i], i, answers)
            damage(tmp_path, rng)
        for i, engine in enumerate(engines):
            while engine.has_work:
                step(engine, i, answers)
            assert (
                not engine.notices and engine.scheduler.kv.num_free_blocks == engine.scheduler.kv._pool.num_blocks - 1
            )
        for i in range(2):
            for name, prompt in enumerate(prompts):
                assert (i, str(name)) in aborted or answers[i, str(name)] == expected_answer(prompt, 12)


def step(engine: LLMEngine, i: int, answers: dict[tuple[int, str], list[int]]) -> None:
    for output in engine.step() if engine.has_work else []:
        answers.setdefault((i, output.request_id), []).extend(output.token_ids)
    engine.scheduler.check_integrity()


def damage(folder: Path, rng: random.Random) -> None:
    if rng.random() < 0.1 and (held := files(folder)):
        victim = rng.choice(held)
        if rng.random() < 0.5:
            victim.unlink(missing_ok=True)
        else:
            victim.write_bytes(rng.randbytes(rng.randrange(2000)))


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    size = 10_000
    store = DiskStore(tmp_path, "model", PRINT, 10 * (size + 56) + 2000)
    for number in range(8):
        store.write(key(number), memoryview(bytes(size)))
        time.sleep(0.002)
    store.touch([key(0), key(1)])
    other = DiskStore(tmp_path, "another", OTHER_PRINT, 10 * (size + 56) + 2000)
    for number in range(8, 12):
        other.write(key(number), memoryview(bytes(size)))
    left = {int(file.stem, 16) for file in files(tmp_path)}
    assert left == {0, 1, 4, 5, 6, 7, 8, 9, 10, 11}


@pytest.mark.parametrize("seed", range(2))
def test_the_bound_holds_for_several_writers(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    limit = 300_000
    stores = [DiskStore(tmp_path, f"model{i}", PRINT, limit) for i in range(3)]
    for number in range(400):
        rng.choice(stores).write(key(number), memoryview(rng.randbytes(rng.randrange(4000))))
        held = sum(file.stat().st_size for file in files(tmp_path))
        assert held <= limit * (1 + 2 / 64)
    assert held > limit / 2


def test_a_file_that_somebody_else_put_there_is_left_aside(tmp_path: Path) -> None:
    DiskStore(tmp_path, "model", PRINT, 300_000).write(key(1), memoryview(b"content"))
    (own,) = files(tmp_path)
    own.with_name(f"{own.stem} (copy){own.suffix}").write_bytes(b"")
    assert key(1) in DiskStore(tmp_path, "model", PRINT, 300_000)


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    ask(make_engine(folder), PROMPT)
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*")) if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in files(folder)} == {0o600}


WRITER = """
import sys
from pathlib import Path
from llmrt.engine.kv.disk_store import DiskStore
store = DiskStore(Path(sys.argv[1]), "model", b"f" * 16, 1 << 30)
print(flush=True)
for number in range(10**6):
    store.write(number.to_bytes(16, "big"), memoryview(bytes([number % 256]) * 3_000_000))
"""


def test_a_process_that_is_killed_while_it_writes_leaves_whole_files(tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        while not files(tmp_path):  # the first is written whole
            time.sleep(0.001)
        time.sleep(rng.uniform(0.005, 0.05))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        store = DiskStore(tmp_path, "model", PRINT, LIMIT)
        held = [int(file.stem, 16) for file in files(tmp_path)]
        content = bytearray(3_000_000)
        for number in held:
            assert store.read(key(number), memoryview(content))
            assert content == bytes([number % 256]) * 3_000_000
        assert held


def test_what_a_killed_process_left_goes_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DiskStore(tmp_path, "model", PRINT, LIMIT)
    left = tmp_path / "model" / PRINT.hex() / "abc.tmp"
    left.write_bytes(b"half")
    store.write(key(1), memoryview(b"x"))
    assert left.exists()  # somebody may be writing it just now
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    DiskStore(tmp_path, "model", PRINT, LIMIT)
    assert not left.exists() and files(tmp_path)


def test_a_disk_that_takes_nothing_is_one_notice_and_the_answers_go_on(tmp_path: Path) -> None:
    engine = make_engine(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        ask(engine, PROMPT)
        ask(engine, [1, *PROMPT])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    (notice,) = engine.notices
    assert str(tmp_path) in notice and "File too large" in notice and "--disk-cache 0" in notice
    assert not list(tmp_path.glob("*/*/*"))


def test_a_block_larger_than_the_bound_is_a_notice(tmp_path: Path) -> None:
    engine = make_engine(tmp_path, limit=1000)
    ask(engine, PROMPT)
    (notice,) = engine.notices
    assert "2104 bytes are more than the bound of 1000" in notice
