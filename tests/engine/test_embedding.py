"""The vectors of texts: those of transformers, and the same however they were computed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from test_gpu_runner import on_device
from transformers import AutoModelForCausalLM

from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import Pooling, RequestOutput, SamplingParams
from llmrt.errors import ContextLengthError, RequestError
from tests.engines import greedy, open_engine, prompt, run, tokens
from tests.scripted_device import ScriptedDevice

POOLINGS: tuple[Pooling, ...] = ("mean", "last")
Vector = np.ndarray


def embed(engine: LLMEngine, texts: Sequence[Sequence[int]], pooling: Pooling) -> list[Vector]:
    """The vectors of texts that are computed side by side."""
    for i, token_ids in enumerate(texts):
        engine.embed(str(i), token_ids, pooling)
    outputs = run(engine)
    assert all(len(of_one) == 1 and of_one[0].finish_reason == "stop" for of_one in outputs.values())
    return [vector_of(outputs[str(i)][0].embedding) for i in range(len(texts))]


def vector_of(data: bytes | None) -> Vector:
    assert data is not None
    return np.frombuffer(data, "<f4")


def assert_same(one: Vector, other: Vector, tolerance: float = 1e-6) -> None:
    """Of unit vectors."""
    np.testing.assert_allclose(one / np.linalg.norm(one), other / np.linalg.norm(other), rtol=0, atol=tolerance)


@pytest.mark.parametrize("kernels", ["", "reference"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_are_pooled_hidden_states(
    folder: Path, pooling: Pooling, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernels:
        monkeypatch.setenv("LLMRT_KERNELS", kernels)
    texts = [prompt(length) for length in (1, 5, 32, 77)]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).model.eval()
    for token_ids, vector in zip(texts, embed(open_engine(folder), texts, pooling), strict=True):
        with torch.inference_mode():
            states = model(torch.tensor([token_ids])).last_hidden_state[0]
        expected = states.mean(0) if pooling == "mean" else states[-1]
        assert_same(vector, expected.numpy(), 1e-4)


# A product of few rows adds in another order, which int8 activations make more of.
@pytest.mark.parametrize(("quant", "tolerance"), [("none", 1e-6), ("int8", 1e-4)])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_vector_does_not_depend_on_how_it_was_computed(
    folder: Path, pooling: Pooling, quant: str, tolerance: float
) -> None:
    texts = [prompt(length, seed=1) for length in (1, 2, 17, 40, 70, 3, 33, 100)]
    settings = {"quant": quant}
    whole = open_engine(folder, max_num_batched_tokens=512, **settings)
    alone = [embed(whole, [token_ids], pooling)[0] for token_ids in texts]
    for budget in (8, 32, 512):
        together = embed(open_engine(folder, max_num_batched_tokens=budget, **settings), texts, pooling)
        for one, other in zip(alone, together, strict=True):
            assert_same(one, other, tolerance)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_cached_prefix_changes_nothing(folder: Path, pooling: Pooling) -> None:
    cold, warm = open_engine(folder), open_engine(folder, prefix_caching=True)
    token_ids = prompt(70)
    answer = greedy(warm, token_ids[:50], 10)
    for tail in (token_ids, [*token_ids[:50], *answer], token_ids, token_ids[:48]):
        assert_same(embed(warm, [tail], pooling)[0], embed(cold, [tail], pooling)[0])
    warm.embed("again", token_ids, pooling)
    cached = run(warm)["again"][0].num_cached_tokens
    assert cached == (64 if pooling == "last" else 0)
    assert greedy(warm, token_ids, 8) == greedy(cold, token_ids, 8)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_texts_and_answers_share_steps(folder: Path, pooling: Pooling) -> None:
    engine = open_engine(folder, max_num_seqs=4)
    prompts = [prompt(length, seed=2) for length in (9, 30, 50)]
    answers = [greedy(engine, token_ids, 12) for token_ids in prompts]
    vectors = [embed(engine, [token_ids], pooling)[0] for token_ids in prompts]
    for i, token_ids in enumerate(prompts):
        engine.add(f"answer{i}", token_ids, SamplingParams(temperature=0, max_tokens=12))
        engine.embed(f"vector{i}", token_ids, pooling)
    outputs = run(engine)
    for i in range(len(prompts)):
        assert tokens(outputs[f"answer{i}"]) == answers[i]
        assert_same(vector_of(outputs[f"vector{i}"][0].embedding), vectors[i])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_text_that_is_preempted_begins_again(folder: Path, pooling: Pooling) -> None:
    engine = open_engine(folder, max_num_batched_tokens=16)
    expected = embed(engine, [prompt(60)], pooling)[0]
    engine.embed("r", prompt(60), pooling)
    while sum(request.num_computed_tokens for request in engine.scheduler._running) == 0:
        engine.step()
    (request,) = engine.scheduler._running
    assert request.num_computed_tokens < 60
    engine.scheduler._preempt(request)
    assert_same(vector_of(run(engine)["r"][0].embedding), expected)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pooling", POOLINGS)
def test_on_a_device_that_is_not_waited_for(folder: Path, pooling: Pooling, seed: int) -> None:
    rng = random.Random(seed)
    waiting = open_engine(folder, context_length=96)
    device = on_device(waiting, ScriptedDevice(rng), block_size=16, extra_blocks=rng.randrange(9))
    texts = [prompt(rng.randrange(1, 96), seed=i) for i in range(6)]
    outputs: dict[str, list[RequestOutput]] = {}
    for i, token_ids in enumerate(texts):
        device.embed(str(i), token_ids, pooling)
        params = SamplingParams(temperature=0, max_tokens=9, logprobs=rng.choice([None, None, 0]))
        device.add(f"answer{i}", token_ids[:40], params)
        for output in [o for _ in range(rng.randrange(3)) for o in device.step()]:
            outputs.setdefault(output.request_id, []).append(output)
    for request_id, rest in run(device).items():
        outputs.setdefault(request_id, []).extend(rest)
    for i, token_ids in enumerate(texts):
        assert tokens(outputs[f"answer{i}"]) == greedy(waiting, token_ids[:40], 9)
        assert_same(vector_of(outputs[str(i)][0].embedding), embed(waiting, [token_ids], pooling)[0], 1e-5)


def test_a_text_may_fill_the_context(folder: Path) -> None:
    engine = open_engine(folder, context_length=48)
    assert len(embed(engine, [prompt(48)], "last")[0]) == engine.embedding_size == 48
    with pytest.raises(ContextLengthError, match="48 tokens"):
        engine.embed("long", prompt(49), "last")
    with pytest.raises(RequestError):
        engine.embed("empty", [], "last")
    with pytest.raises(RequestError):
        engine.embed("unknown", [10**6], "last")
