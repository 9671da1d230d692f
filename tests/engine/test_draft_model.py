"""A second model that guesses: what it guesses, and that answers do not depend on it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmrt.config import EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading import build
from llmrt.engine.loading.build_speculation import plan_draft
from llmrt.engine.loading.load_model import open_model
from llmrt.engine.planning.memory import kv_bytes_per_token, step_bytes, tape_bytes
from llmrt.engine.planning.settle import loaded_bytes
from llmrt.engine.request import SamplingParams
from llmrt.engine.speculation.draft_model import DraftModel
from llmrt.errors import ConfigError, MemoryFitError
from tests.adapters import make_adapter
from tests.engine.test_verified_tokens import SHAPE, generated
from tests.engines import answer, greedy, open_engine, prompt, run, shrink_pool, tokens
from tests.scripted import verify_all_guesses, verify_some_guesses
from tests.scripted_device import ScriptedDevice
from tests.tiny import make_model, save_model
from tests.tiny_vocabulary import write_vocabulary


def make_folder(folder: Path, **fields: Any) -> Path:
    folder.mkdir()
    save_model(make_model("llama", **{**SHAPE, **fields}), folder)
    return write_vocabulary(folder)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "target")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "other", seed=5, num_hidden_layers=1, sliding_window=None)


def with_draft(target: Path, draft: Path, **settings: Any) -> LLMEngine:
    return open_engine(target, **{"dtype": "fp32", "speculate": "auto", "draft_model": str(draft), **settings})


def draft_of(engine: LLMEngine) -> DraftModel:
    assert engine._speculation is not None
    proposer = engine._speculation._proposer
    assert isinstance(proposer, DraftModel)
    return proposer


def check_integrity(engine: LLMEngine) -> None:
    draft = draft_of(engine)
    draft._kv.check_integrity(follower.request for follower in draft._followers.values())


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
def test_the_same_model_guesses_every_greedy_token(target: Path, late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    verify_all_guesses(monkeypatch)
    plain = open_engine(target, dtype="fp32")
    if late:
        monkeypatch.setattr(build, "_step_device", lambda *_: ScriptedDevice(random.Random(0)))
    engine = with_draft(target, target)
    for length in (5, 40, 100):  # more than a chunk, which is 32 tokens
        assert greedy(engine, prompt(length), 50) == greedy(plain, prompt(length), 50)
    stats = engine.stats
    assert stats.num_accepted_tokens == stats.num_draft_tokens > 100
    check_integrity(engine)


@pytest.mark.parametrize("seed", range(3))
def test_answers_do_not_depend_on_the_draft(
    target: Path, other: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests come and go, are preempted, and share prefixes; the draft is another model that is right by chance."""
    verify_all_guesses(monkeypatch)
    rng = random.Random(seed)
    shared = prompt(20)
    requests = {
        str(i): (
            [*shared[: rng.randrange(20)], *prompt(rng.randrange(1, 12), seed=i)],
            SamplingParams(temperature=rng.choice([0, 0.8]), seed=i, max_tokens=rng.randrange(1, 30)),
        )
        for i in range(12)
    }
    plain = generated(answer(open_engine(target, dtype="fp32"), requests))
    engine = with_draft(target, rng.choice([target, other]), context_length=64, prefix_caching=True, max_num_seqs=4)
    shrink_pool(engine)
    assert generated(answer(engine, requests)) == plain
    assert engine.stats.num_draft_tokens > 0
    check_integrity(engine)


@pytest.mark.parametrize("seed", range(3))
def test_on_a_device_answers_do_not_depend_on_the_draft(
    target: Path, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those of adapters nor those that end within a draft; requests are preempted, and so are their guesses."""
    rng = random.Random(seed)

    verify_some_guesses(monkeypatch, rng)
    adapter = make_adapter(make_model("llama", **SHAPE), tmp_path, seed=seed)
    settings = {"adapters": (("a", str(adapter)),), "context_length": 64, "max_num_seqs": 4}
    shared = prompt(40)
    requests = [
        (
            [*shared[: rng.randrange(40)], *prompt(rng.randrange(1, 12), seed=i)],
            SamplingParams(
                temperature=rng.choice([0, 0, 0.8]),
                seed=i,
                max_tokens=rng.randrange(1, 30),
                stop_token_ids=frozenset(rng.sample(range(SHAPE["vocab_size"]), rng.choice([0, 20]))),
            ),
            rng.choice([None, None, "a"]),
        )
        for i in range(12)
    ]
    plain = open_engine(target, dtype="fp32", **settings)
    device = ScriptedDevice(rng)
    monkeypatch.setattr(build, "_step_device", lambda *_: device)
    engine = with_draft(target, target, prefix_caching=True, **settings)
    shrink_pool(engine)
    assert answered(engine, requests) == answered(plain, requests)
    assert 0 < engine.stats.num_accepted_tokens < engine.stats.num_draft_tokens
    assert engine.stats.num_preemptions > 0 < device.num_replayed
    check_integrity(engine)


def answered(
    engine: LLMEngine, requests: Sequence[tuple[list[int], SamplingParams, str | None]]
) -> list[tuple[list[int], str | None]]:
    for i, (token_ids, params, adapter) in enumerate(requests):
        engine.add(str(i), token_ids, params, adapter)
    outputs = run(engine)
    return [(tokens(outputs[str(i)]), outputs[str(i)][-1].finish_reason) for i in range(len(requests))]


def test_a_draft_on_a_gpu_is_part_of_what_must_fit(target: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmrt.engine.loading.load_model.choose_device", lambda asked: ("cuda", []))
    monkeypatch.setattr("llmrt.engine.loading.load_model.arch_of", lambda device: "sm_90")
    monkeypatch.setattr("llmrt.engine.loading.load_model.free_memory", lambda config: 1 << 30)
    config = EngineConfig(
        device="cuda", quant="none", dtype="bf16", kv_dtype="bf16", speculate="auto", draft_model=str(other)
    )
    draft = plan_draft(open_model(target), config, 1 << 30)
    assert draft is not None and draft.config.device == "cuda"
    shape, own = draft.model.config, draft.config
    pages = draft.plan.num_blocks * own.block_size * kv_bytes_per_token(shape, own.kv_dtype)
    assert draft.plan.num_blocks * own.block_size > draft.plan.context_length
    assert draft.num_bytes == loaded_bytes(draft.model, own) + pages + step_bytes(shape, own)
    with pytest.raises(MemoryFitError, match="Not enough GPU memory"):
        plan_draft(open_model(target), config, draft.num_bytes // 2)


def test_a_draft_on_the_processor_is_counted_with_its_steps(target: Path, other: Path) -> None:
    draft = plan_draft(
        open_model(target), EngineConfig(device="cpu", speculate="auto", draft_model=str(other)), 1 << 30
    )
    assert draft is not None
    shape, own = draft.model.config, draft.config
    pages = draft.plan.num_blocks * own.block_size * kv_bytes_per_token(shape, own.kv_dtype)
    steps = step_bytes(shape, own) + tape_bytes(shape, own)
    assert draft.num_bytes == loaded_bytes(draft.model, own) + pages + steps


def test_a_draft_that_no_kernel_of_a_gpu_serves_is_refused(
    target: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    from tests.pretended_cuda import pretended_cuda

    monkeypatch.setenv("LLMRT_KERNELS", "reference")
    with pretended_cuda(), pytest.raises(ConfigError, match=f"{other} is none that the kernels of a GPU serve"):
        open_engine(target, device="cuda", speculate="auto", draft_model=str(other))


def test_requests_that_there_are_no_blocks_for_are_guessed_for_when_others_have_gone(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_all_guesses(monkeypatch)
    engine = with_draft(target, target, context_length=64, max_num_seqs=4)
    draft = draft_of(engine)
    for block in list(draft._kv._pool._free)[5:]:
        del draft._kv._pool._free[block]
    for i, count in enumerate((8, 30, 30)):
        engine.add(str(i), prompt(33, seed=i), SamplingParams(temperature=0, max_tokens=count))
    guessed = list[set[str]]()
    while engine.has_work:
        engine.step()
        guessed.append({request.request_id for request in draft._followers})
    assert {"0"} in guessed and {"1"} in guessed and not any(len(each) > 1 for each in guessed)


def test_a_draft_with_a_shorter_context_stops_guessing(target: Path, tmp_path: Path) -> None:
    short = make_folder(tmp_path / "short", max_position_embeddings=64)
    assert greedy(with_draft(target, short), prompt(40), 60) == greedy(
        open_engine(target, dtype="fp32"), prompt(40), 60
    )


def test_ids_that_only_the_larger_table_has_are_not_for_the_draft(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_all_guesses(monkeypatch)
    larger = make_folder(tmp_path / "larger", vocab_size=SHAPE["vocab_size"] + 1)
    engine = with_draft(larger, target)
    beyond = [*prompt(20), SHAPE["vocab_size"]]
    for token_ids in (beyond, prompt(20)):
        guessed = engine.stats.num_draft_tokens
        assert greedy(engine, token_ids, 20) == greedy(open_engine(larger, dtype="fp32"), token_ids, 20)
        assert (engine.stats.num_draft_tokens > guessed) == (token_ids is not beyond)


def test_a_draft_that_cannot_guess_for_the_model_is_refused(target: Path, tmp_path: Path) -> None:
    larger = tmp_path / "larger"
    larger.mkdir()
    save_model(make_model("llama", **{**SHAPE, "vocab_size": 1024}), larger)
    write_vocabulary(larger)
    with pytest.raises(ConfigError, match=r"--draft-model .*larger has other tokens"):
        with_draft(target, larger)
    with pytest.raises(ConfigError, match="--draft-model does not go with --speculate ngram"):
        with_draft(target, target, speculate="ngram")
    small = tmp_path / "small"
    small.mkdir()
    save_model(
        make_model("llama", vocab_size=SHAPE["vocab_size"]), small
    )  # of a shape that native kernels do not serve
    write_vocabulary(small)
    with pytest.raises(ConfigError, match=r"--draft-model .*small is none that the native kernels"):
        with_draft(target, small)
    with pytest.raises(ConfigError, match="--draft-model is for models that the native kernels"):
        with_draft(small, target)
