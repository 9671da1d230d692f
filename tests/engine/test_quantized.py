"""The native path: what it computes, that a tape computes the same, and that nothing depends on the batch."""

from __future__ import annotations

import random
from collections import Counter
from itertools import accumulate, chain, count
from pathlib import Path
from typing import Any

import pytest
import torch

from llmrt.config import EngineConfig
from llmrt.engine.interleave import Interleave
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading.build import build_engine
from llmrt.engine.planning.memory import row_bytes
from llmrt.engine.request import RequestOutput, SamplingParams
from llmrt.engine.runners.cpu_runner import CpuRunner
from llmrt.engine.runners.decode_tape import DecodeTapes
from llmrt.errors import ConfigError
from llmrt.ops import rules
from llmrt_kernels.cpu.library import load
from llmrt_kernels.cpu.tape import Tape
from tests.engines import greedy, on_reference, open_engine, prompt, run, score, tokens, typical_error
from tests.gguf_files import write_gguf
from tests.tiny import make_model, save_model

SMALL_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
FAMILIES = {
    "llama": ("llama", {"attention_bias": True}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "mistral": ("mistral", {"sliding_window": 16}),
    "mixtral": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
    "qwen3": ("qwen3", {}),
    "gemma2": ("gemma2", {"sliding_window": 16}),
    "phi": ("phi", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
    "qwen2_moe": ("qwen2_moe", {**SMALL_EXPERTS, "shared_expert_intermediate_size": 112, "norm_topk_prob": False}),
    "one_expert": ("mixtral", {"num_local_experts": 8, "num_experts_per_tok": 1, "sliding_window": 16}),
}
# Sizes that the native kernels serve; K is not a multiple of the group.
SHAPE = {"hidden_size": 160, "intermediate_size": 224, "head_dim": 32, "num_attention_heads": 4}


# What the engine is asked for: quantized weights, and those as they were stored.
SETTINGS: dict[str, dict[str, Any]] = {
    "int8": {"quant": "int8"},
    "int4": {"quant": "int4"},
    "fp32": {"dtype": "fp32"},
    "bf16": {"dtype": "bf16"},
}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family, fields = FAMILIES[request.param]
    return save_model(make_model(family, **SHAPE, **fields), tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("quant", ["int8", "int4"])
def test_native_logits_are_near_the_references_on_the_same_weights(
    folder: Path, quant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They differ by the rounding of activations to int8 alone."""
    expected = score(on_reference(folder, monkeypatch, quant=quant), prompt(60))
    native = score(open_engine(folder, quant=quant, kv_dtype="fp32"), prompt(60))
    assert typical_error(native, expected) < 0.15


def test_in_full_precision_they_are_the_references(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = score(on_reference(folder, monkeypatch), prompt(60))
    assert typical_error(score(open_engine(folder), prompt(60)), expected) < 1e-5
    rounded = score(open_engine(folder, dtype="bf16", kv_dtype="fp32"), prompt(60))
    assert 1e-4 < typical_error(rounded, expected) < 0.1


def test_int8_is_near_full_precision(folder: Path) -> None:
    full = score(open_engine(folder), prompt(40))
    int8 = score(open_engine(folder, quant="int8"), prompt(40))
    assert typical_error(int8, full) < 0.15


@pytest.mark.parametrize(("settings", "logprobs"), [("int4", None), ("int4", 0), ("bf16", None)])
def test_a_tape_gives_the_same_as_the_calls_one_by_one(folder: Path, settings: str, logprobs: int | None) -> None:
    taped, called = (open_engine(folder, **SETTINGS[settings]) for _ in range(2))
    runner = called._runner
    assert isinstance(runner, CpuRunner)
    runner._tapes = None
    for engine in (taped, called):
        for i in range(3):
            engine.add(str(i), prompt(10 + 7 * i), SamplingParams(temperature=0, max_tokens=20 + i, logprobs=logprobs))
    outputs = [run(engine) for engine in (taped, called)]
    assert outputs[0] == outputs[1]
    runner = taped._runner
    assert isinstance(runner, CpuRunner)
    assert runner._tapes is not None
    assert runner._tapes.possible
    assert {1, 2, 3} >= {rows for rows, _ in runner._tapes._recorded} >= {3}


@pytest.mark.parametrize("settings", ["int4", "fp32"])
def test_tapes_of_all_numbers_of_rows_compute_in_the_memory_that_is_counted(folder: Path, settings: str) -> None:
    """32 requests that end one after the other: beside its inputs, no tape has memory of its own."""
    engine = open_engine(folder, max_num_seqs=32, max_num_batched_tokens=64, **SETTINGS[settings])
    for i in range(32):
        engine.add(str(i), prompt(2, seed=i), SamplingParams(temperature=0, max_tokens=33 + i))
    run(engine)
    tapes = tapes_of(engine)
    assert set(range(1, 33)) == {rows for rows, _ in tapes._recorded}
    storages = [storages_of(step._tape) for step in tapes._recorded.values()]
    in_tapes = Counter(chain.from_iterable(storages))
    own = sum(size for tape in storages for at, size in tape.items() if in_tapes[at] == 1)
    assert own <= sum(8 * (rows * (tapes._max_blocks + 6) + 1) for rows, _ in tapes._recorded)
    row = row_bytes(tapes._decoder.config)
    assert 0 < tapes._scratch.used <= row
    assert len(tapes._scratch._memory) == tapes._max_rows * row


def storages_of(tape: Tape) -> dict[int, int]:
    """Address and bytes of the memory that its tensors lie in."""
    storages = [tensor.untyped_storage() for _, _, tensors in tape._recorded for tensor in tensors]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def test_a_step_of_more_rows_than_tapes_have_is_the_same_without_one(folder: Path) -> None:
    taped, limited = (open_engine(folder, quant="int4") for _ in range(2))
    tapes_of(limited)._max_rows = 2
    for engine in (taped, limited):
        for i in range(3):
            engine.add(str(i), prompt(10 + 7 * i), SamplingParams(temperature=0, max_tokens=20 + i))
    assert run(limited) == run(taped)
    assert {rows for rows, _ in tapes_of(limited)._recorded} == {1, 2}
    assert tapes_of(limited).possible


def tapes_of(engine: LLMEngine) -> DecodeTapes:
    runner = engine._runner
    assert isinstance(runner, CpuRunner) and runner._tapes is not None
    return runner._tapes


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_request_alone_equals_it_among_seven_others(folder: Path, settings: str) -> None:
    engine = open_engine(folder, **SETTINGS[settings])
    alone = greedy(engine, prompt(33), 40)
    engine.add("watched", prompt(33), SamplingParams(temperature=0, max_tokens=40))
    for i in range(7):
        engine.add(
            f"other{i}", prompt(5 + 9 * i, seed=i), SamplingParams(temperature=0.8, seed=i, max_tokens=10 + 5 * i)
        )
    assert tokens(run(engine)["watched"]) == alone


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_pace_of_prompts_and_who_leaves_them_change_no_bit(folder: Path, settings: str, seed: int) -> None:
    """Whatever the clock says, and so into whatever steps the prompts are cut."""
    rng = random.Random(seed)
    engine = open_engine(folder, **SETTINGS[settings])
    params = SamplingParams(temperature=0, max_tokens=12, logprobs=0)
    prompts = {str(i): prompt(10 + 23 * i, seed=i) for i in range(4)}
    alone: dict[str, list[RequestOutput]] = {}
    for name, token_ids in prompts.items():
        engine.add(name, token_ids, params)
        alone |= run(engine)
    ticks = accumulate(rng.choice([0.0, 1.0, 9.0, 200.0]) for _ in count())
    engine._loop = Interleave(engine.scheduler, engine._runner, ticks.__next__)
    together: dict[str, list[RequestOutput]] = {}
    for name, token_ids in prompts.items():
        engine.add(f"leaves{name}", prompt(70, seed=9), params)
        engine.add(name, token_ids, params)
        for output in [output for _ in range(rng.randrange(1, 9)) for output in engine.step()]:
            together.setdefault(output.request_id, []).append(output)
        engine.abort(f"leaves{name}")
    for name, outputs in run(engine).items():
        together.setdefault(name, []).extend(outputs)
    for name in prompts:  # what was found in the cache depends on who came before
        assert [(o.token_ids, o.logprobs) for o in together[name]] == [(o.token_ids, o.logprobs) for o in alone[name]]


@pytest.mark.parametrize("settings", ["int4", "fp32", "bf16"])
def test_threads_do_not_change_a_bit(folder: Path, settings: str) -> None:
    library = load()
    assert library is not None
    rows = []
    for threads in (1, 2, 5):
        engine = open_engine(folder, **SETTINGS[settings])
        library.set_threads(threads)
        rows.append(score(engine, prompt(50)))
    assert torch.equal(rows[0], rows[1])
    assert torch.equal(rows[0], rows[2])


@pytest.mark.parametrize("settings", ["int4", "fp32"])
def test_experts_stacked_in_a_gguf_file_give_the_same_bits(tmp_path: Path, settings: str) -> None:
    fields = {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}
    model = make_model("mixtral", hidden_size=128, intermediate_size=224, num_attention_heads=2, **fields)
    files = save_model(model, tmp_path / "model"), write_gguf(model, tmp_path / "tiny.gguf")
    apart, stacked = (score(open_engine(file, **SETTINGS[settings]), prompt(20)) for file in files)
    assert torch.equal(apart, stacked)


def test_settings_that_do_not_go_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--quant is 'int3'; it must be one of stored, none, int8, int4, auto"):
        build_engine(folder, EngineConfig(quant="int3"))
    with pytest.raises(
        ConfigError, match=r"--kv-dtype fp8 is not to be had: it is for a GPU, not the cpu\. Use fp16\."
    ):
        open_engine(folder, quant="int4", kv_dtype="fp8")
    with pytest.raises(ConfigError, match="--dtype bf16 does not go with --quant int4"):
        build_engine(folder, EngineConfig(quant="int4", dtype="bf16"))
    monkeypatch.setenv("LLMRT_ISA", "mmx")
    load.cache_clear()
    with pytest.raises(ConfigError, match=r"LLMRT_ISA is 'mmx'; this machine has .*generic"):
        build_engine(folder, EngineConfig(quant="int4"))
    monkeypatch.delenv("LLMRT_ISA")
    load.cache_clear()


@pytest.mark.parametrize(("quant", "limit"), [("int8", 0.15), ("none", 1e-5)])
def test_without_the_library_it_runs_and_says_that_it_is_slow(
    folder: Path, quant: str, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the library activations of int8 products are rounded, without it they are not."""
    expected = score(open_engine(folder, quant=quant, kv_dtype="fp32"), prompt(60))
    monkeypatch.setattr(rules, "load", lambda: None)
    engine = open_engine(folder, quant=quant, kv_dtype="fp32")
    assert "without a C++ compiler" in engine.notices[0]
    assert typical_error(score(engine, prompt(60)), expected) < limit


def test_a_model_that_the_kernels_do_not_serve_runs_on_torch_and_says_so(tmp_path: Path) -> None:
    engine = open_engine(save_model(make_model("llama"), tmp_path))
    assert "sizes are multiples of 2 alone" in engine.notices[0]
    assert open_engine(tmp_path, dtype="fp16").notices
