"""GGUF models in several files, as the gguf library writes them: one model, or one clear line about what is wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import torch
from gguf import GGMLQuantizationType as Kind

from llmrt.config import EngineConfig
from llmrt.engine.conversion.quantized_folder import write_quantized
from llmrt.errors import CheckpointError
from llmrt.hub.local import local_artifact
from llmrt.model.checkpoints.checkpoint import open_checkpoint
from llmrt.model.checkpoints.source_identity import source_identity
from llmrt.text.gguf_parts import part_names
from tests.engines import open_engine, score
from tests.gguf_files import SHAPE, write_gguf
from tests.model.parity import LLAMA3, ROPE, prompt
from tests.tiny import make_model

PARTS = 5


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    write_gguf(make_model("llama", **SHAPE), tmp_path / "tiny.gguf", Kind.Q8_0, tensors_of_a_part=5)
    found = sorted(tmp_path.glob("*.gguf"))
    assert len(found) == PARTS
    return found


def test_names_of_parts() -> None:
    assert part_names("q4/a-00002-of-00003.gguf") == [f"q4/a-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    for alone in ("a.gguf", "a-00004-of-00003.gguf", "a-00000-of-00000.gguf", "a-1-of-3.gguf"):
        assert part_names(alone) == [alone]


@pytest.mark.parametrize("named", ["first", "another", "folder"])
def test_the_parts_are_the_model(parts: list[Path], named: str, tmp_path: Path) -> None:
    artifact = local_artifact(str({"first": parts[0], "another": parts[2], "folder": tmp_path}[named]))
    assert artifact is not None
    (tmp_path / "whole").mkdir()
    whole = write_gguf(make_model("llama", **SHAPE), tmp_path / "whole" / "tiny.gguf", Kind.Q8_0)
    assert torch.equal(score(open_engine(artifact.path), prompt(20)), score(open_engine(whole), prompt(20)))


def test_what_configures_a_model_may_be_in_any_part(tmp_path: Path) -> None:
    """Its RoPE divisors come last here."""
    model = make_model("llama", **SHAPE, rope_parameters={"rope_type": "llama3", **LLAMA3, **ROPE})
    divisors = {"rope_freqs.weight": torch.linspace(1, 8, 8).numpy()}
    whole = write_gguf(model, tmp_path / "whole.gguf", extra=divisors)
    write_gguf(model, tmp_path / "tiny.gguf", extra=divisors, tensors_of_a_part=5)
    (first,) = tmp_path.glob("tiny-00001-*.gguf")
    assert open_checkpoint(first).config == open_checkpoint(whole).config


def test_a_change_of_any_part_is_another_source(parts: list[Path]) -> None:
    before = source_identity(parts[0])
    data = bytearray(parts[3].read_bytes())
    data[-1] ^= 1
    parts[3].write_bytes(data)
    assert source_identity(parts[0]) != before


def test_a_quantized_folder_of_parts_stands_alone(parts: list[Path], tmp_path: Path) -> None:
    expected = score(open_engine(parts[0], quant="int8"), prompt(20))
    write_quantized(open_checkpoint(parts[0]), tmp_path / "out", EngineConfig(quant="int8"), lambda _: None)
    artifact = local_artifact(str(tmp_path / "out"))
    assert artifact is not None
    assert torch.equal(score(open_engine(artifact.path), prompt(20)), expected)


def patched(path: Path, key: str, value: int) -> None:
    """Another value of a field of 16 or 32 bits."""
    field = gguf.GGUFReader(path).fields[key]
    at = field.offset + 8 + len(key) + 4
    with path.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack("<i" if field.types[0] == gguf.GGUFValueType.INT32 else "<H", value))


@pytest.mark.parametrize(
    ("spoil", "at_fault", "message"),
    [
        (lambda parts: parts[2].unlink(), 2, r"is missing; it is part 3 of 5"),
        (lambda parts: parts[0].unlink(), 0, r"is missing; it is part 1 of 5"),
        (lambda parts: parts[1].write_bytes(parts[1].read_bytes()[:-600]), 1, r"ends at byte|mmap length"),
        (lambda parts: parts[3].write_bytes(b""), 3, r"not a GGUF file"),
        (lambda parts: parts[2].write_bytes(parts[1].read_bytes()), 2, r"says that it is part 2 of 5"),
        (lambda parts: patched(parts[1], "split.count", 4), 1, r"says that it is part 2 of 4"),
        (lambda parts: patched(parts[0], "split.tensors.count", 9), 0, r"split.tensors.count is 9, but the parts hold"),
        (lambda parts: parts[0].rename(parts[0].with_name("one.gguf")), None, r"one.gguf says that it is part 1 of 5"),
    ],
)
def test_parts_that_do_not_fit_are_one_clear_line(
    parts: list[Path], spoil: Callable[[list[Path]], object], at_fault: int | None, message: str
) -> None:
    spoil(parts)
    path = parts[0] if at_fault is not None else parts[0].with_name("one.gguf")
    with pytest.raises(CheckpointError, match=message) as caught:
        open_engine(path)
    assert str(path if at_fault is None else parts[at_fault]) in str(caught.value)
    assert "\n" not in str(caught.value)
