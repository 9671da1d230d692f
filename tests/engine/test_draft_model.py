"""A second model that guesses: what it guesses, and that answers do not depend on it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams
from llmrt.engine.speculation.draft_model import DraftModel
from llmrt.errors import ConfigError
from tests.engine.test_properties import prompt, shrink_pool
from tests.engine.test_verified_tokens import SHAPE, answer, generated
from tests.engines import greedy, open_engine
from tests.scripted import verify_all_guesses
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


def test_the_same_model_guesses_every_greedy_token(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verify_all_guesses(monkeypatch)
    engine = with_draft(target, target)
    for length in (5, 40, 100):  # more than a chunk, which is 32 tokens
        assert greedy(engine, prompt(length), 50) == greedy(open_engine(target, dtype="fp32"), prompt(length), 50)
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
