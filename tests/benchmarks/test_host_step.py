"""The device that computes nothing takes steps of the shape that a GPU would."""

from __future__ import annotations

import pytest

from benchmarks.host_step import PROMPT, idle_engine
from llmrt.engine.request import SamplingParams


@pytest.mark.parametrize("params", [SamplingParams(temperature=0), SamplingParams(seed=1)])
def test_every_request_has_a_token_of_each_step(params: SamplingParams) -> None:
    engine = idle_engine(3)
    for i in range(3):
        engine.add(str(i), [i] * PROMPT, params)
    assert engine.step() == []  # it runs a step ahead
    for _ in range(3):
        outputs = engine.step()
        assert [(output.request_id, output.token_ids) for output in outputs] == [(str(i), (0,)) for i in range(3)]
    engine.scheduler.check_integrity()
