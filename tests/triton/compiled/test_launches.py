"""Launches through Triton's own binder, on a GPU that is not there: all bind, and none compiles once serving begins."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
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
from llmrt.engine.loading import build_speculation
from llmrt.engine.loading.build import assemble_engine
from llmrt.engine.request import SamplingParams
from llmrt.engine.runners.warm_up import FirstSteps, WarmUp
from llmrt.errors import ConfigError
from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from llmrt.model.config import ModelConfig, MoeConfig
from tests.adapters import make_adapter
from tests.pretended_cuda import pretended_cuda
from tests.scripted import verify_some_guesses
from tests.tiny import make_model

SIZES = {"vocab_size": 512, "hidden_size": 128, "num_layers": 1, "num_heads": 4, "num_kv_heads": 1, "head_dim": 32}
SHAPE = replace(MISTRAL, **SIZES, intermediate_size=192)
EXPERTS = replace(SHAPE, family="mixtral", moe=MoeConfig(8, 2, 64))
MANY_EXPERTS = replace(EXPERTS, moe=MoeConfig(128, 8, 64))
MANY_HEADS = replace(SHAPE, num_kv_heads=4)  # of one request, but not of two, keys are split
POST_NORMS = replace(SHAPE, post_norms=True)  # which read a product that was expanded, or was not
GPU = {"device": "cuda", "quant": "int4", "kv_dtype": "bf16", "max_num_batched_tokens": 2048}
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
        (POST_NORMS, "int4", "bf16", 300, 2048),
        (SHAPE, "none", "fp8", 600, 256),
        (SHAPE, "none", "bf16", 40, 1100),
        (EXPERTS, "int8", "int8", 600, 256),
        (EXPERTS, "none", "bf16", 600, 1024),
        (MANY_EXPERTS, "int4", "bf16", 600, 512),
        (MANY_HEADS, "int4", "bf16", 600, 512),
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
        serve_some(engine, rng)
        assert compiled[len(known) :] == []


def test_all_is_compiled_before_anything_is_launched(compiled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = GPU | {"max_num_batched_tokens": 64}
    with pretended_cuda():
        deep = replace(SHAPE, num_layers=10)  # of which one is left out before
        engine = assemble_engine(RandomCheckpoint(deep), EngineConfig(**gpu, context_length=40, max_num_seqs=4))
        compiled.clear()
        monkeypatch.setattr(Kernel, "run", lambda *_: compiled.append("launch"))
        engine.warm_up()
    begin = compiled.index("launch")
    assert begin > 0 and set(compiled[begin:]) == {"launch"}


ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    sizes = {"hidden_size": 128, "intermediate_size": 192, "num_attention_heads": 4, "num_key_value_heads": 1}
    model = make_model("mistral", **sizes, head_dim=32, num_hidden_layers=1)
    kinds = [(16, ALL), (5, ["v_proj"]), (40, ["v_proj"]), (9, ["q_proj", "v_proj"])]
    folders = [tmp_path_factory.mktemp("adapter") for _ in kinds]
    return [
        make_adapter(model, folder, r=rank, target_modules=modules)
        for folder, (rank, modules) in zip(folders, kinds, strict=True)
    ]


@pytest.mark.parametrize(("shape", "quant", "context"), [(SHAPE, "int4", 300), (POST_NORMS, "none", 600)])
def test_nor_for_adapters_that_came_before(
    shape: ModelConfig, quant: str, context: int, compiled: list[str], adapters: list[Path]
) -> None:
    with pretended_cuda():
        settings = GPU | {"quant": quant, "context_length": context, "max_num_seqs": 16}
        engine = assemble_engine(RandomCheckpoint(shape), EngineConfig(**settings, adapters=(("a", str(adapters[0])),)))
        engine.warm_up()
        known = [*compiled]
        assert "expand_kernel" in known
        serve_some(engine, random.Random(0), adapters=(None, "a"))
        assert compiled[len(known) :] == []


def test_nor_for_those_that_come_later(compiled: list[str], adapters: list[Path]) -> None:
    rng, gpu = random.Random(0), GPU | {"max_num_batched_tokens": 128}
    with pretended_cuda():
        engine = assemble_engine(RandomCheckpoint(SHAPE), EngineConfig(**gpu, context_length=50, max_num_seqs=4))
        engine.warm_up()
        names: list[str | None] = [None]
        for i, adapter in enumerate([*adapters[1:], *[adapters[0]] * 14]):
            engine.load_adapter(str(i), adapter)
            names.append(str(i))
            if i == 2:
                engine.unload_adapter("1")  # which alone had so many ranks
                names.remove("1")
            if i in (1, 2, 16):
                known = [*compiled]
                serve_some(engine, rng, names)
                assert compiled[len(known) :] == []


def test_an_adapter_like_one_that_was_there_needs_no_steps(compiled: list[str], adapters: list[Path]) -> None:
    """All others would wait for them."""
    with pretended_cuda():
        engine = assemble_engine(RandomCheckpoint(SHAPE), EngineConfig(**GPU, context_length=300, max_num_seqs=16))
        engine.warm_up()
        engine.load_adapter("a", adapters[0])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FirstSteps, "take", lambda self, sizes: pytest.fail("steps were taken"))
            engine.load_adapter("b", adapters[0])
            engine.unload_adapter("a")
            engine.load_adapter("c", adapters[1])  # which changes less, and has fewer ranks
            engine.unload_adapter("b")
            engine.load_adapter("d", adapters[0])


def test_one_that_is_refused_changes_nothing_for_the_others(
    compiled: list[str], adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own kernels cannot be compiled."""
    gpu = GPU | {"max_num_batched_tokens": 128}
    with pretended_cuda():
        engine = assemble_engine(RandomCheckpoint(SHAPE), EngineConfig(**gpu, context_length=50, max_num_seqs=4))
        engine.warm_up()
        engine.load_adapter("a", adapters[1])

        def fail(self: FirstSteps, sizes: WarmUp) -> None:
            raise RuntimeError("ptxas failed")

        monkeypatch.setattr(FirstSteps, "take", fail)
        with pytest.raises(ConfigError, match=r"adapter 'b', failed; .* ptxas failed"):
            engine.load_adapter("b", adapters[2])  # which has more ranks
        known = [*compiled]
        serve_some(engine, random.Random(0), (None, "a"))
        assert compiled[len(known) :] == []


def test_the_number_of_a_table_is_that_of_those_that_are_there(
    compiled: list[str], adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 have a table of another form than 15."""
    gpu = GPU | {"max_num_batched_tokens": 128, "context_length": 100, "max_num_seqs": 4}
    few = tuple((str(i), str(adapters[1])) for i in range(15))

    def fail(self: FirstSteps, sizes: WarmUp) -> None:
        raise RuntimeError("ptxas failed")

    with pretended_cuda():
        refused = assemble_engine(RandomCheckpoint(SHAPE), EngineConfig(**gpu, adapters=few))
        refused.warm_up()
        with monkeypatch.context() as patch, pytest.raises(ConfigError, match="ptxas failed"):
            patch.setattr(FirstSteps, "take", fail)
            refused.load_adapter("15", adapters[1])
        known = [*compiled]
        serve_some(refused, random.Random(0), (None, "0", "14"))
        assert compiled[len(known) :] == []


def test_a_table_that_one_has_left_is_read_as_before(compiled: list[str], adapters: list[Path]) -> None:
    """By the kernels for 16, for those for 15 were never compiled."""
    gpu = GPU | {"max_num_batched_tokens": 128, "context_length": 100, "max_num_seqs": 4}
    with pretended_cuda():
        many = tuple((str(i), str(adapters[1])) for i in range(16))
        engine = assemble_engine(RandomCheckpoint(SHAPE), EngineConfig(**gpu, adapters=many))
        engine.warm_up()
        engine.unload_adapter("15")
        known = [*compiled]
        serve_some(engine, random.Random(0), (None, "0", "14"))
        assert compiled[len(known) :] == []


def test_nor_for_a_draft_model(compiled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(SHAPE, hidden_size=64, intermediate_size=128)
    monkeypatch.setattr(build_speculation, "open_model", lambda path: RandomCheckpoint(small))
    monkeypatch.setattr(build_speculation, "_check_vocabulary", lambda target, draft: None)
    verify_some_guesses(monkeypatch, rng := random.Random(0))
    with pretended_cuda():
        config = EngineConfig(**GPU, context_length=300, max_num_seqs=16, speculate="auto", draft_model="draft")
        engine = assemble_engine(RandomCheckpoint(SHAPE), config)
        engine.warm_up()
        known = [*compiled]
        serve_some(engine, rng)
        assert engine.stats.num_draft_tokens
        assert compiled[len(known) :] == []


def serve_some(engine: LLMEngine, rng: random.Random, adapters: Sequence[str | None] = (None,)) -> None:
    """Prompts as long as the context that are computed together, some of all lengths, then a conversation alone."""
    context = engine.context_length
    lengths = [context - 10] * 8 + rng.choices([1, 2, 3, 5, 9, 17, 33, 65, 130, 255, 400], k=30)
    for i, length in enumerate(lengths):
        params = SamplingParams(**rng.choice(FILTERS), max_tokens=rng.randrange(1, 20))
        prompt = rng.choices(range(512), k=min(context - 1, length))
        engine.add(str(i), prompt, params, rng.choice(adapters))
        for _ in range(rng.randrange(4) if i > 7 else 0):
            engine.step()
    while engine.has_work:
        engine.step()
    said = rng.choices(range(512), k=max(0, context - 60) // 64 * 64)  # whole blocks, which are kept
    for more in (1, 3, 7, 14, 30):
        engine.add(f"turn {more}", [*said, *range(more)], SamplingParams(max_tokens=2))
        while engine.has_work:
            engine.step()
