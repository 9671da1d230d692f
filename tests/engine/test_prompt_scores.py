"""The log-probabilities of prompts' own tokens: those of transformers, and the same however they were computed."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_gpu_runner import on_device
from transformers import AutoModelForCausalLM

from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams, TokenLogprob
from llmrt.errors import ContextLengthError
from tests.engines import open_engine, prompt, run, tokens
from tests.scripted_device import ScriptedDevice
from tests.tiny import make_model, save_model

SCORE = SamplingParams(temperature=0, max_tokens=3, logprobs=2, prompt_logprobs=2)
ALONE = SamplingParams(max_tokens=0, prompt_logprobs=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(make_model("llama"), tmp_path_factory.mktemp("llama"))


def scores(engine: LLMEngine, *lengths: int) -> list[tuple[TokenLogprob, ...]]:
    """Of prompts that are computed side by side."""
    for length in lengths:
        engine.add(str(length), prompt(length), SCORE)
    outputs = run(engine)
    firsts = [outputs[str(length)] for length in lengths]
    assert not any(output.prompt_logprobs for _, *rest in firsts for output in rest)
    return [first.prompt_logprobs for first, *_ in firsts]


def test_they_are_those_of_transformers(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    lengths = (1, 2, 31, 32, 33, 77)
    for length, got in zip(lengths, scores(open_engine(folder), *lengths), strict=True):
        with torch.inference_mode():
            logprobs = model(torch.tensor([prompt(length)])).logits[0].log_softmax(-1)[:-1]
        assert [entry.token_id for entry in got] == prompt(length)[1:]
        for entry, row in zip(got, logprobs, strict=True):
            assert entry.logprob == pytest.approx(float(row[entry.token_id]), abs=2e-3)
            near = float(row[entry.token_id]) - torch.tensor([2e-3, -2e-3])
            assert int((row > near[1]).sum()) < entry.rank <= 1 + int((row > near[0]).sum())
            assert [value for _, value in entry.top] == pytest.approx(row.topk(2).values.tolist(), abs=2e-3)


def test_a_cached_prefix_and_preemption_change_nothing(folder: Path) -> None:
    engine = open_engine(folder, prefix_caching=True)
    (cold,) = scores(engine, 77)
    assert scores(engine, 77) == [cold]
    engine.add("r", prompt(77), SCORE)
    while not any(request.num_computed_tokens for request in engine.scheduler._running):
        engine.step()
    (request,) = engine.scheduler._running
    engine.scheduler._preempt(request)
    outputs = run(engine)["r"]
    assert outputs[0].prompt_logprobs == cold
    engine.add("r", prompt(77), SCORE)
    while not any(output.prompt_logprobs for output in engine.step()):
        pass
    (request,) = engine.scheduler._running
    engine.scheduler._preempt(request)
    assert not any(output.prompt_logprobs for output in run(engine)["r"])  # they were given out already


@pytest.mark.parametrize("seed", range(3))
def test_on_a_device_that_is_not_waited_for(folder: Path, seed: int) -> None:
    waiting = open_engine(folder, context_length=96)
    device = on_device(waiting, ScriptedDevice(random.Random(seed)), block_size=16, extra_blocks=4)
    device.add("beside", prompt(40), SamplingParams(temperature=0, max_tokens=9))
    for got, expected in zip(scores(device, 1, 20, 77), scores(waiting, 1, 20, 77), strict=True):
        assert [entry.token_id for entry in got] == [entry.token_id for entry in expected]
        assert [e.logprob for e in got] == pytest.approx([e.logprob for e in expected], abs=1e-4)


def test_a_prompt_alone_may_fill_the_context(folder: Path) -> None:
    waiting = open_engine(folder, context_length=48, prefix_caching=True)
    device = on_device(waiting, ScriptedDevice(random.Random(0)), block_size=16, extra_blocks=2)
    (scored,) = scores(open_engine(folder), 48)
    for engine in (waiting, device):
        engine.add("scored", prompt(48), ALONE)
        engine.add("beside", prompt(20), SamplingParams(temperature=0, max_tokens=9))
        engine.add("one", prompt(1), replace(ALONE, prompt_logprobs=None))
        outputs = run(engine)
        assert len(tokens(outputs["beside"])) == 9
        for name in ("scored", "one"):
            (end,) = outputs[name]
            assert (end.token_ids, end.finish_reason) == ((), "length")
        got = outputs["scored"][0].prompt_logprobs
        assert [entry.logprob for entry in got] == pytest.approx([entry.logprob for entry in scored], abs=1e-4)
    with pytest.raises(ContextLengthError, match="48 tokens"):
        waiting.add("long", prompt(49), ALONE)
