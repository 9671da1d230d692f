"""Steps before the first request: for whom they are taken, and what comes of one that fails."""

from __future__ import annotations

import random
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from llmrt.config import EngineConfig
from llmrt.engine.adapters import Adapters
from llmrt.engine.kv.manager import KVCacheManager
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading.build_runner import make_runner
from llmrt.engine.messages import AdaptersChanged, LoadAdapter
from llmrt.engine.request import SamplingParams
from llmrt.engine.sampling.grammars import Grammars
from llmrt.engine.scheduler import Scheduler
from llmrt.engine.speculation.draft_model import DraftModel
from llmrt.engine.speculation.speculation import Speculation
from llmrt.engine.worker import _change_adapters
from llmrt.errors import ConfigError, LlmrtError, MemoryFitError, RequestError
from llmrt.text.tokenizer import Tokenizer
from tests.engines import on_reference
from tests.scripted import CONTEXT, LateScriptedRunner
from tests.scripted_device import ScriptedDevice


class Warmed(LateScriptedRunner):
    """Writes down what it was asked to be ready for, or raises ``error``."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(16, None)
        self.error, self.asked = error, list[tuple[int, bool]]()
        self.installed = set[int]()

    def warm_up(self, max_tokens: int, *, adapted: bool = False) -> None:
        if self.error is not None:
            raise self.error
        self.asked.append((max_tokens, adapted))

    def install(self, number: int, folder: Path) -> bytes:
        self.installed.add(number)
        return str(folder).encode()

    def remove(self, number: int) -> None:
        self.installed.remove(number)


def engine_of(runner: Warmed, speculation: Speculation | None = None, **settings: Any) -> LLMEngine:
    config = EngineConfig(max_num_seqs=4, max_num_batched_tokens=200, **settings)
    scheduler = Scheduler(KVCacheManager(20, 16), max_num_seqs=4, max_num_batched_tokens=200, context_length=CONTEXT)
    return LLMEngine(scheduler, runner, config=config, adapters=Adapters(runner), speculation=speculation)


def test_steps_with_adapters_are_taken_where_some_are_loaded() -> None:
    engine_of(runner := Warmed(), adapters=(("a", "folder"),)).warm_up()
    assert runner.asked == [(200, False), (200, True)]
    engine = engine_of(runner := Warmed())
    engine.warm_up()
    assert _change_adapters(engine, LoadAdapter("a", "folder")) == AdaptersChanged()
    assert runner.asked == [(200, False), (200, True)]


def test_an_engine_that_compiles_what_it_meets_does_so_with_adapters() -> None:
    """In the process of who asks, for whom nobody else waits."""
    engine_of(runner := Warmed()).load_adapter("a", Path("folder"))
    assert runner.asked == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("PTXAS error:\n`ptxas` failed"), r"adapter 'a', failed; .* RuntimeError: PTXAS error: `ptxas`"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "refused memory"),
    ],
)
def test_an_adapter_whose_steps_fail_is_refused(error: Exception, words: str) -> None:
    runner = Warmed()
    engine = engine_of(runner)
    engine.warm_up()
    runner.error = error
    answer = _change_adapters(engine, LoadAdapter("a", "folder"))
    assert answer.error is not None and re.search(words, answer.error)
    assert runner.installed == set()
    with pytest.raises(RequestError, match="not loaded"):
        engine.add("0", [1], SamplingParams(), "a")
    engine.add("1", [1], SamplingParams(max_tokens=1))
    assert engine.step() or engine.step()
    runner.error = None
    assert _change_adapters(engine, LoadAdapter("a", "folder")) == AdaptersChanged()


def test_a_refused_adapter_is_taken_out_while_a_grammar_is_compiled() -> None:
    """Others' requests would launch what just failed."""
    read_vocabulary = threading.Event()
    runner = Warmed()
    engine = engine_of(runner)

    def tokenizer() -> Tokenizer:
        read_vocabulary.wait()
        raise RequestError("There is no vocabulary.")

    engine._grammars = Grammars(tokenizer, runner.vocab_size)
    engine.warm_up()
    engine.add("0", [1], SamplingParams(grammar="{}"))
    runner.error = RuntimeError("ptxas failed")
    answer = _change_adapters(engine, LoadAdapter("a", "folder"))
    assert answer.error is not None and engine.stats.num_waiting == 1
    assert runner.installed == set()
    read_vocabulary.set()


def test_an_adapter_that_a_gpu_has_no_memory_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its allocator says: another process may have taken what seemed to be there."""

    def refuse(self: Adapters, name: str, folder: Path) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(Adapters, "load", refuse)
    answer = _change_adapters(engine_of(Warmed()), LoadAdapter("a", "folder"))
    assert "refused memory" in answer.error


def test_a_draft_model_has_steps_too() -> None:
    runner = Warmed()
    draft = DraftModel(runner, KVCacheManager(20, 16), chunk=100, context_length=CONTEXT)
    engine_of(Warmed(), Speculation(draft)).warm_up()
    assert runner.asked == [(100, False)]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            RuntimeError("PTXAS error:\n`ptxas` failed"),
            ConfigError,
            "--device cpu.* RuntimeError: PTXAS error: `ptxas`",
        ),
        (FileNotFoundError(2, "No such file", "cc"), ConfigError, "--device cpu.* FileNotFoundError: .*cc"),
        (RuntimeError("CUDA out of memory. Tried"), MemoryFitError, "--max-num-seqs needs less"),
    ],
)
def test_a_step_that_fails_is_told_in_a_line(error: Exception, kind: type[LlmrtError], words: str) -> None:
    with pytest.raises(kind, match=words):
        engine_of(Warmed(error)).warm_up()


def test_the_reference_has_nothing_to_compile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = on_reference(folder, monkeypatch, context_length=CONTEXT)._runner._decoder
    device = ScriptedDevice(random.Random(0))
    make_runner(decoder, None, EngineConfig(), CONTEXT, device).warm_up(200)
    assert device.num_run == 0
