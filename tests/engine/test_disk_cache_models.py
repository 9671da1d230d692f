"""The disk cache under tiny models: equal tokens, and nothing found that another engine would compute otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from llmrt.engine.kv import disk_cache
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import RequestOutput, SamplingParams
from llmrt.hub.prompts import prompts_bytes, prompts_folder, remove_prompts
from llmrt_kernels.cpu.library import load
from tests.engines import open_engine, run, tokens
from tests.tiny import make_model, save_model

native = pytest.mark.skipif(load() is None, reason="the native kernels were not built")
SHAPE = {"hidden_size": 160, "intermediate_size": 224, "head_dim": 32, "num_attention_heads": 4}
PROMPT = torch.randint(3, 128, (100,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(disk_cache, "_SHORTEST_PROMPT", 8)
    monkeypatch.setenv("LLMRT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(make_model("llama", **SHAPE), tmp_path_factory.mktemp("llama"))


def engine(folder: Path, **settings: Any) -> LLMEngine:
    return open_engine(folder, prefix_caching=True, disk_cache=1 << 30, **settings)


def ask(engine: LLMEngine, prompt: list[int] = PROMPT, count: int = 12) -> tuple[list[int], RequestOutput]:
    engine.add("r", prompt, SamplingParams(temperature=0, max_tokens=count))
    outputs = run(engine)["r"]
    return tokens(outputs), outputs[-1]


SETTINGS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"dtype": "bf16"},
    "int8": {"quant": "int8"},
    "int4": {"quant": "int4"},
    "int8_kv": {"kv_dtype": "int8"},
    "fp16_kv": {"kv_dtype": "fp16"},
}


@native
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3_text"])
def test_answers_are_equal_after_a_restart(family: str, name: str, tmp_path: Path) -> None:
    window = {"sliding_window": 16} if family != "llama" else {}
    folder = save_model(make_model(family, **SHAPE, **window), tmp_path / "model")
    cold, first = ask(engine(folder, **SETTINGS[name]))
    assert first.num_cached_tokens == 0
    warm, second = ask(engine(folder, **SETTINGS[name]))
    assert second.num_cached_tokens == 96 and second.num_disk_tokens > 0
    assert warm == cold


@native
def test_no_two_settings_share_a_block(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {**SETTINGS, "block_size": {"block_size": 32}}
    for settings in others.values():
        assert ask(engine(folder, **settings))[1].num_cached_tokens == 0
    monkeypatch.setenv("LLMRT_KERNELS", "reference")
    assert ask(engine(folder))[1].num_cached_tokens == 0
    monkeypatch.delenv("LLMRT_KERNELS")
    library = load()
    assert library is not None
    best = library.isa
    try:
        for isa in library.available_isas[1:3]:
            library.choose_isa(isa)
            assert ask(engine(folder))[1].num_cached_tokens == 0
    finally:
        library.choose_isa(best)
    for settings in others.values():
        assert ask(engine(folder, **settings))[1].num_cached_tokens == 96


def test_a_context_that_changes_the_rotation_shares_nothing(tmp_path: Path) -> None:
    scaling = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    folder = save_model(make_model("llama", rope_parameters=scaling, max_position_embeddings=128), tmp_path / "model")
    assert ask(engine(folder, context_length=256))[1].num_cached_tokens == 0
    assert ask(engine(folder, context_length=200))[1].num_cached_tokens == 0
    assert ask(engine(folder, context_length=256))[1].num_cached_tokens == 96


def test_other_weights_at_the_same_place_share_nothing(tmp_path: Path) -> None:
    for seed in (0, 1):
        folder = save_model(make_model("llama", seed=seed), tmp_path / "model")
        assert ask(engine(folder))[1].num_cached_tokens == 0


def test_two_engines_use_one_folder_at_once(folder: Path) -> None:
    one, other = engine(folder), engine(folder)
    for name, each in (("a", one), ("b", other)):
        each.add(name, PROMPT, SamplingParams(temperature=0, max_tokens=8))
    got: dict[str, list[int]] = {"a": [], "b": []}
    while one.has_work or other.has_work:
        for output in [*one.step(), *other.step()]:
            got[output.request_id] += output.token_ids
    assert got["a"] == got["b"] == ask(engine(folder), count=8)[0]


def test_a_folder_that_cannot_be_made_is_one_notice(folder: Path, home: Path) -> None:
    home.mkdir()
    prompts_folder().write_text("in the way")
    started = engine(folder)
    assert ask(started)[1].num_cached_tokens == 0
    (notice,) = started.notices
    assert str(prompts_folder()) in notice and "--disk-cache 0" in notice and "\n" not in notice


def test_nothing_is_written_unless_it_is_asked_for(folder: Path, home: Path) -> None:
    ask(open_engine(folder, prefix_caching=True))
    assert not home.exists()


def test_what_is_kept_for_a_model_can_be_removed(folder: Path) -> None:
    assert prompts_bytes() == 0
    ask(engine(folder))
    assert prompts_bytes() == prompts_bytes(folder) > 0 == prompts_bytes(folder.parent)
    remove_prompts(folder)
    assert prompts_bytes() == 0
    assert ask(engine(folder))[1].num_cached_tokens == 0
