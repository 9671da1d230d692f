"""Launches through Triton's own binder, on a GPU that is not there: all bind, and none compiles once serving begins."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from benchmarks.on_gpu.models import MISTRAL
from llmrt.config import EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading.build import assemble_engine
from llmrt.engine.request import SamplingParams
from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from llmrt.model.config import ModelConfig, MoeConfig
from tests.pretended_cuda import pretended_cuda

SIZES = {"vocab_size": 512, "hidden_size": 128, "num_layers": 1, "num_heads": 4, "num_kv_heads": 1, "head_dim": 32}
SHAPE = replace(MISTRAL, **SIZES, intermediate_size=192)
EXPERTS = replace(SHAPE, family="mixtral", moe=MoeConfig(8, 2, 64))
FILTERS = ({}, {"temperature": 1}, {"temperature": 1, "top_k": 9}, {"temperature": 1, "top_p": 0.9})


class Kernel:
    """One that was compiled, and computes nothing but the first token of the vocabulary."""

    function = packed_metadata = None

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def launch_metadata(self, *_: Any) -> None:
        return None

    def run(self, *args: Any) -> None:
        for name, value in zip(self._names, args[-len(self._names) :], strict=True):
            if name == "out_ptr" and value.dtype == torch.int64:
                value.zero_()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the kernels that were compiled."""
    functions, names = set[JITFunction[Any]](), list[str]()

    def compile_(self: JITFunction[Any], key: str, signature: dict[str, str], device: int, *_: Any) -> Kernel:
        integers = [name for name, kind in signature.items() if kind.startswith("i") and kind != "i32"]
        assert not integers, f"{integers} of {self.__name__} did not fit in 32 bits"
        functions.add(self)
        names.append(self.__name__)
        kernel = self.device_caches[device][0][key] = Kernel(list(signature))
        return kernel

    there = SimpleNamespace(
        get_current_device=lambda: 0,
        get_current_stream=lambda device: 0,
        get_current_target=lambda: GPUTarget("cuda", 90, 32),
    )
    monkeypatch.setattr(driver, "_active", there)
    monkeypatch.setattr(JITFunction, "_do_compile", compile_)
    yield names
    for function in functions:
        function.device_caches.clear()


@pytest.mark.parametrize(
    ("shape", "quant", "kv_dtype", "context", "step_tokens"),
    [
        (SHAPE, "int4", "bf16", 600, 256),
        (SHAPE, "int4", "int8", 300, 2048),
        (SHAPE, "none", "fp8", 600, 256),
        (SHAPE, "none", "bf16", 40, 1100),
        (EXPERTS, "int8", "int8", 600, 256),
        (EXPERTS, "none", "bf16", 600, 1024),
    ],
)
def test_nothing_is_compiled_once_serving_begins(
    shape: ModelConfig, quant: str, kv_dtype: str, context: int, step_tokens: int, compiled: list[str]
) -> None:
    rng = random.Random(0)
    with pretended_cuda():
        settings = {"device": "cuda", "quant": quant, "kv_dtype": kv_dtype, "context_length": context}
        config = EngineConfig(**settings, max_num_seqs=16, max_num_batched_tokens=step_tokens)
        engine = assemble_engine(RandomCheckpoint(shape), config)
        engine.warm_up()
        known = [*compiled]
        assert known
        add_together(engine, rng, [context - 10] * 8)
        for i in range(30):
            length = min(context - 20, rng.choice([1, 2, 3, 5, 9, 17, 33, 65, 130, 255, 400]))
            params = SamplingParams(**rng.choice(FILTERS), max_tokens=rng.randrange(1, 20))
            engine.add(str(i), rng.choices(range(512), k=length), params)
            for _ in range(rng.randrange(4)):
                engine.step()
        while engine.has_work:
            engine.step()
        assert compiled[len(known) :] == []


def add_together(engine: LLMEngine, rng: random.Random, lengths: list[int]) -> None:
    """Prompts that are computed in as few steps as can be."""
    for i, length in enumerate(lengths):
        engine.add(f"together {i}", rng.choices(range(512), k=length), SamplingParams(max_tokens=2))
