"""The quick GGUF reader against the library's own, and against files that are no GGUF files."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFEndian, GGUFReader, GGUFValueType, GGUFWriter, ReaderField

from llmrt.errors import CheckpointError
from llmrt.text.gguf_metadata import open_gguf, read_list, read_value

SCALARS = {
    GGUFValueType.UINT8: 250,
    GGUFValueType.INT8: -7,
    GGUFValueType.UINT16: 65000,
    GGUFValueType.INT16: -3000,
    GGUFValueType.UINT32: 4_000_000_000,
    GGUFValueType.INT32: -2_000_000_000,
    GGUFValueType.FLOAT32: 0.5,
    GGUFValueType.UINT64: 2**63,
    GGUFValueType.INT64: -(2**62),
    GGUFValueType.FLOAT64: 0.1,
    GGUFValueType.BOOL: True,
    GGUFValueType.STRING: "日本 🎉",
}


@pytest.fixture(params=[GGUFEndian.LITTLE, GGUFEndian.BIG])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "all.gguf"
    writer = GGUFWriter(path, "llama", endianess=request.param)
    for kind, value in SCALARS.items():
        writer.add_key_value(f"one.{kind.name}", value, kind)
        writer.add_key_value(f"many.{kind.name}", [value] * 3, GGUFValueType.ARRAY, kind)
    writer.add_array("strings", ["", "a", "日本", "x" * 300])
    writer.add_array("nested", [[1, 2], [3, 4]])
    writer.add_tensor("weight", np.arange(64, dtype=np.float32).reshape(4, 16))
    writer.add_tensor("half", np.arange(32, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def same_field(ours: ReaderField, theirs: ReaderField) -> bool:
    return (ours.offset, ours.name, list(ours.data), ours.types) == (
        theirs.offset,
        theirs.name,
        list(theirs.data),
        theirs.types,
    ) and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(ours.parts, theirs.parts, strict=True))


def test_every_field_and_tensor_equals_the_library(file: Path) -> None:
    ours, theirs = open_gguf(file), GGUFReader(file)
    assert list(ours.fields) == list(theirs.fields)
    for name, field in theirs.fields.items():
        assert same_field(ours.fields[name], field), name
        assert ours.fields[name].contents() == field.contents()
    assert len(ours.tensors) == len(theirs.tensors) == 2
    for a, b in zip(ours.tensors, theirs.tensors, strict=True):
        assert (a.name, a.tensor_type, a.data_offset) == (b.name, b.tensor_type, b.data_offset)
        assert same_field(a.field, b.field)
        np.testing.assert_array_equal(a.data, b.data)


def test_an_array_without_elements(file: Path) -> None:
    """The writer leaves such an array out, so the file is made by hand."""
    key, value = b"empty", np.array([8], "<u4").tobytes() + np.array([0], "<u8").tobytes()
    pair = np.array([len(key)], "<u8").tobytes() + key + np.array([9], "<u4").tobytes() + value
    file.write_bytes(b"GGUF" + np.array([3], "<u4").tobytes() + np.array([0, 1], "<u8").tobytes() + pair)
    ours, theirs = open_gguf(file), GGUFReader(file)
    assert same_field(ours.fields["empty"], theirs.fields["empty"])
    assert read_list(ours, "empty", str) == []


def test_a_file_is_opened_once_until_it_changes(write_gguf: Callable[..., Path]) -> None:
    path = write_gguf({"a": 1})
    reader = open_gguf(path)
    assert open_gguf(path) is reader
    assert read_value(open_gguf(write_gguf({"a": 2, "b": "longer"})), "a", int) == 2


def test_a_truncated_file_is_a_checkpoint_error(file: Path) -> None:
    data = file.read_bytes()
    for cut in [*range(0, 200, 7), *random.Random(0).sample(range(200, len(data)), 40), len(data) - 1]:
        file.write_bytes(data[:cut])
        with pytest.raises(CheckpointError, match=r"all\.gguf is not a GGUF file that can be read"):
            open_gguf(file)


def test_a_file_that_ends_within_its_last_value(write_gguf: Callable[..., Path]) -> None:
    path = write_gguf({"last": "x" * 100})
    end = path.read_bytes().index(b"x" * 100) + 100
    path.write_bytes(path.read_bytes()[: end - 1])
    with pytest.raises(CheckpointError, match=f"it ends at byte {end - 1}, within a value that .* {end}"):
        open_gguf(path)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_corrupt_file_never_raises_anything_else(file: Path) -> None:
    data = file.read_bytes()
    draw = random.Random(1)
    for _ in range(150):
        damaged = bytearray(data)
        damaged[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
        try:
            open_gguf(file)
        except CheckpointError as error:
            assert "\n" not in str(error)


def test_a_pointer_of_git_lfs_says_what_fetches_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        open_gguf(path)


@pytest.mark.parametrize("content", [b"", b"GGU", b"PK\x03\x04" * 100, b"GGUF" + bytes(100)])
def test_another_kind_of_file_is_a_checkpoint_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a GGUF file"):
        open_gguf(path)


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"missing\.gguf cannot be opened: No such file"):
        open_gguf(tmp_path / "missing.gguf")
    with pytest.raises(CheckpointError, match="cannot be opened: Is a directory"):
        open_gguf(tmp_path)


def test_values_are_read_with_their_type(write_gguf: Callable[..., Path]) -> None:
    reader = open_gguf(write_gguf({"n": 3, "x": 0.5, "s": "text", "on": True, "words": ["a", "b"]}))
    assert read_value(reader, "n", int) == 3
    assert read_value(reader, "n", float) == 3.0
    assert read_value(reader, "on", bool) is True
    assert read_value(reader, "absent", str) is None
    assert read_list(reader, "words", str) == ["a", "b"]
    assert read_list(reader, "absent", str) is None
    with pytest.raises(CheckpointError, match=r"model\.gguf: s holds string; expected int"):
        read_value(reader, "s", int)
    with pytest.raises(CheckpointError, match="on holds bool; expected int"):
        read_value(reader, "on", int)
    with pytest.raises(CheckpointError, match="words holds array of string; expected a list of int"):
        read_list(reader, "words", int)
    with pytest.raises(CheckpointError, match="words holds array of string; expected str"):
        read_value(reader, "words", str)


def test_text_that_is_not_utf8_names_its_field(write_gguf: Callable[..., Path]) -> None:
    path = write_gguf({"s": "abcd"})
    path.write_bytes(path.read_bytes().replace(b"abcd", b"ab\xff\xfe"))
    with pytest.raises(CheckpointError, match=r"model\.gguf: s is not UTF-8"):
        read_value(open_gguf(path), "s", str)


@pytest.mark.parametrize("offset", [32, 2**64 - 32])
def test_tensors_that_lie_in_each_other_or_in_the_head_are_a_checkpoint_error(file: Path, offset: int) -> None:
    weight = GGUFReader(file).tensors[0].field.parts[-1]
    content = bytearray(file.read_bytes())
    at = content.index(b"weight") + 6 + 4 + 16 + 4  # behind the name: dimensions, type
    content[at : at + 8] = np.array([offset], weight.dtype).tobytes()
    file.write_bytes(content)
    with np.errstate(over="ignore"), pytest.raises(CheckpointError, match="within what is before it"):
        open_gguf(file)
