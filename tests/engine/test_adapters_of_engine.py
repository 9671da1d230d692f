"""Adapters come and go while requests run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from llmrt.engine.adapters import Adapters
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.request import SamplingParams
from llmrt.errors import CheckpointError, RequestError
from llmrt.model.modules.lora import Lora
from tests.adapters import make_adapter
from tests.engine.test_gpu_runner import CONTEXT, on_device
from tests.engines import open_engine, run, tokens
from tests.scripted_device import ScriptedDevice
from tests.tiny import make_model, save_model

PARAMS = SamplingParams(temperature=0, max_tokens=20)
PROMPT = [5, 9, 11, 70, 3]
# What the native kernels serve, so that steps are recorded.
NATIVE = {"hidden_size": 128, "intermediate_size": 80}


class Folder(dict[int, Path]):
    """An installer that installs nothing."""

    def install(self, number: int, folder: Path) -> bytes:
        assert number not in self
        self[number] = folder
        return str(folder).encode()

    def remove(self, number: int) -> None:
        del self[number]


def test_numbers_are_unique_until_the_last_request_has_ended() -> None:
    installed = Folder()
    adapters = Adapters(installed)
    adapters.load("a", Path("first"))
    adapters.load("b", Path("other"))
    with pytest.raises(RequestError, match="'a' is loaded already"):
        adapters.load("a", Path("second"))
    old = adapters.find("a")
    adapters.unload("a")
    with pytest.raises(RequestError, match="'a' is not loaded"):
        adapters.find("a")
    adapters.load("a", Path("second"))
    adapters.let_go({old})
    assert sorted(installed) == [0, 1, 2] and adapters.are_leaving
    adapters.let_go({adapters.find("a"), None})
    assert sorted(installed) == [1, 2] and not adapters.are_leaving
    adapters.load("c", Path("third"))
    assert adapters.find("c").number == 0
    adapters.refuse("c")
    assert sorted(installed) == [1, 2] and not adapters.are_leaving


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    model = make_model("llama", **NATIVE)
    paths = [tmp_path_factory.mktemp(name) for name in ("model", "a", "b")]
    adapters = [
        make_adapter(model, path, seed=i, target_modules=["q_proj", "up_proj"]) for i, path in enumerate(paths[1:])
    ]
    return save_model(model, paths[0]), adapters[0], adapters[1]


def answers(engine: LLMEngine, *names: str | None) -> list[list[int]]:
    for i, name in enumerate(names):
        engine.add(str(i), PROMPT, PARAMS, name)
    outputs = run(engine)
    return [tokens(outputs[str(i)]) for i in range(len(names))]


def num_installed(engine: LLMEngine) -> int:
    """Adapters whose matrices the first layer has."""
    lora = engine._runner._decoder.layers[0].attention.qkv_lora  # pyright: ignore
    assert isinstance(lora, Lora)
    return sum(map(bool, lora.table.adapters))


def test_one_that_is_unloaded_serves_its_requests_to_their_end(folders: tuple[Path, Path, Path]) -> None:
    model, first, second = folders
    engine = open_engine(model, adapters=(("a", str(first)), ("b", str(second))))
    a, b, plain = answers(engine, "a", "b", None)
    assert len({*map(tuple, (a, b, plain))}) == 3
    for i, name in enumerate(("a", "b", None)):
        engine.add(str(i), PROMPT, PARAMS, name)
    outputs = [output for _ in range(8) for output in engine.step()]
    engine.unload_adapter("a")
    engine.load_adapter("a", second)  # the name is free at once
    with pytest.raises(RequestError, match="'x' is not loaded"):
        engine.add("x", PROMPT, PARAMS, "x")
    engine.add("3", PROMPT, PARAMS, "a")
    assert num_installed(engine) == 3
    outputs += [output for found in run(engine).values() for output in found]
    for i, expected in enumerate((a, b, plain, b)):
        assert tokens([output for output in outputs if output.request_id == str(i)]) == expected
    assert num_installed(engine) == 2


def test_recorded_steps_follow_what_is_loaded(folders: tuple[Path, Path, Path]) -> None:
    model, first, second = folders
    engine = open_engine(model)
    (plain,) = answers(engine, None)
    for folder in (first, second, first):
        engine.load_adapter("a", folder)
        expected = answers(open_engine(model, adapters=(("a", str(folder)),)), "a", None)
        assert answers(engine, "a", None) == expected and expected[1] == plain
        engine.unload_adapter("a")
        assert num_installed(engine) == 0


def test_steps_on_a_device_have_adapters_too(tmp_path: Path) -> None:
    model = make_model("llama")
    folder, adapter = save_model(model, tmp_path / "model"), make_adapter(model, tmp_path / "a")
    waiting = open_engine(folder, adapters=(("a", str(adapter)),), context_length=CONTEXT)
    device = ScriptedDevice(random.Random(0))
    late = on_device(waiting, device, block_size=16, extra_blocks=20)
    late._adapters = waiting._adapters
    expected = answers(waiting, "a", None, "a")
    assert answers(late, "a", None, "a") == expected and expected[0] != expected[1]
    assert (device.num_run, device.num_captured) == (1, 1)  # the prompts, and then a graph


def test_graphs_follow_what_is_loaded(tmp_path: Path) -> None:
    model = make_model("llama")
    folder = save_model(model, tmp_path / "model")
    waiting, device = open_engine(folder, context_length=CONTEXT), ScriptedDevice(random.Random(0))
    late = on_device(waiting, device, block_size=16, extra_blocks=20)
    for i, captured in enumerate((2, 3, 4)):  # the graph without adapters stays
        path = make_adapter(model, tmp_path / str(i), seed=i)
        late.load_adapter("a", path)
        expected = answers(open_engine(folder, adapters=(("a", str(path)),)), "a", None)
        assert answers(late, "a", None) == expected
        assert answers(late, None, None) == [expected[1]] * 2
        assert device.num_captured == captured
        late.unload_adapter("a")


def test_a_folder_that_the_system_refuses_is_one_line(folders: tuple[Path, Path, Path]) -> None:
    engine = open_engine(folders[0])
    with pytest.raises(CheckpointError, match="cannot be read: File name too long"):
        engine.load_adapter("a", Path("x" * 5000))
    with pytest.raises(CheckpointError, match="cannot be read: File name too long"):
        open_engine(folders[0], adapters=(("a", "x" * 5000),))


def test_an_abort_lets_the_adapter_go(folders: tuple[Path, Path, Path]) -> None:
    model, first, _ = folders
    engine = open_engine(model, adapters=(("a", str(first)),))
    engine.add("r", PROMPT, PARAMS, "a")
    engine.step()
    engine.unload_adapter("a")
    assert num_installed(engine) == 1
    engine.abort("r")
    assert num_installed(engine) == 0
