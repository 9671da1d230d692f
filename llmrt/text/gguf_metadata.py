"""Opening a GGUF file once, quickly, and reading its metadata with the types checked.

The gguf library builds each element of an array by itself, 1.8 s for a vocabulary of 49,152 tokens; here an
array is cut up in one pass. What comes out is the same, field by field.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from gguf import GGUFReader, GGUFValueType

from llmrt.errors import CheckpointError

T = TypeVar("T", str, int, float, bool)
_FieldParts = tuple[int, list[npt.NDArray[Any]], list[int], list[GGUFValueType]]


def open_gguf(path: Path) -> GGUFReader:
    """The reader of ``path``, the same one for as long as the file does not change.

    Raises ``CheckpointError`` for a file that is missing, truncated, corrupt or not GGUF.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error.strerror}.") from error
    return _open(path.absolute(), stat.st_mtime_ns, stat.st_size)


def gguf_head_size(path: Path) -> int | None:
    """Bytes before the weights of a file of which perhaps only the beginning is there; None if even those are not.

    Raises ``CheckpointError`` for what is no GGUF file.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise CheckpointError(f"{path.name} is not a GGUF file.")
    try:
        return _HeadReader(path).data_offset
    except (ValueError, IndexError):
        return None


def read_value(reader: GGUFReader, key: str, kind: type[T]) -> T | None:
    """The scalar at ``key``, None where the file has no such key; ``CheckpointError`` for another type."""
    value = _contents(reader, key)
    if kind is float and type(value) is int:
        return kind(value)
    if value is not None and type(value) is not kind:
        raise _wrong_type(reader, key, kind.__name__)
    return value


def read_list(reader: GGUFReader, key: str, kind: type[T]) -> list[T] | None:
    """The array at ``key``, None where the file has no such key; ``CheckpointError`` for another type."""
    values = _contents(reader, key)
    if values is None:
        return None
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise _wrong_type(reader, key, f"a list of {kind.__name__}")
    return values


def _contents(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    try:
        return None if field is None else field.contents()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{reader.data.filename}: {key} is not UTF-8: {error}.") from error


def _wrong_type(reader: GGUFReader, key: str, expected: str) -> CheckpointError:
    types = " of ".join(kind.name.lower() for kind in reader.fields[key].types)
    return CheckpointError(f"{reader.data.filename}: {key} holds {types}; expected {expected}.")


@lru_cache(maxsize=16)
def _open(path: Path, mtime_ns: int, size: int) -> GGUFReader:
    del mtime_ns, size  # part of the key: a file that was written again is another file
    try:
        return _QuickReader(str(path))  # as text: of a Path, numpy keeps what a link leads to
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error.strerror}.") from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        reason = _what_else(path) or " ".join(str(error).split())
        raise CheckpointError(f"{path} is not a GGUF file that can be read: {reason}.") from error


def _what_else(path: Path) -> str | None:
    """Why a file that does not begin as GGUF files do may be in the place of one."""
    with path.open("rb") as file:
        first = file.read(64)
    if first.startswith(b"GGUF"):
        return None
    if first.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, whose file is fetched by `git lfs pull`"
    return "it does not begin with GGUF" if first else "it is empty"


def _truncated(size: int, end: int) -> ValueError:
    return ValueError(f"it ends at byte {size}, within a value that reaches to byte {end}; fetch it again")


class _QuickReader(GGUFReader):
    """The library's reader, with arrays in one pass and every read checked against the end of the file."""

    def _get(self, offset: int, dtype: npt.DTypeLike, count: int = 1, override_order: Any = None) -> npt.NDArray[Any]:
        end = offset + int(count) * np.dtype(dtype).itemsize
        if end > len(self.data):
            raise _truncated(len(self.data), end)
        return super()._get(offset, dtype, count, override_order)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> _FieldParts:
        if raw_type != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        element = GGUFValueType(int(self._get(orig_offs, np.uint32)[0]))
        head = [self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64)]
        count, start = int(head[1][0]), orig_offs + 12
        if element == GGUFValueType.STRING:
            parts, first, step = self._string_parts(start, count), 3, 2
        elif element in self.gguf_scalar_to_np:
            values = self._get(start, self.gguf_scalar_to_np[element], count)
            parts, first, step = list(np.asarray(values).reshape(count, 1)), 2, 1
        else:
            return super()._get_field_parts(orig_offs, raw_type)
        size = 12 + sum(part.nbytes for part in parts)
        indexes = list(range(first, first + step * count, step))
        return size, head + parts, indexes, [GGUFValueType.ARRAY, *([element] if count else [])]

    def _string_parts(self, start: int, count: int) -> list[npt.NDArray[Any]]:
        """Length and bytes of each string in turn."""
        data = np.asarray(self.data)
        order = "little" if (self.byte_order == "I") == (sys.byteorder == "little") else "big"
        length_type = np.dtype(np.uint64).newbyteorder(self.byte_order)
        raw, parts = data.data, list[npt.NDArray[Any]]()
        for _ in range(count):
            body = start + 8
            end = body + int.from_bytes(raw[start:body], order)
            if end > len(data):
                raise _truncated(len(data), end)
            parts += (data[start:body].view(length_type), data[body:end])
            start = end
        return parts

    def _build_tensors(self, start_offs: int, fields: Any) -> None:
        super()._build_tensors(start_offs, fields)
        end = start_offs
        for tensor in sorted(self.tensors, key=lambda tensor: tensor.data_offset):
            if tensor.data_offset < end:
                raise ValueError(f"tensor {tensor.name} begins at byte {tensor.data_offset}, within what is before it")
            end = tensor.data_offset + int(tensor.n_bytes)


class _HeadReader(_QuickReader):
    """Stops where the weights begin."""

    def _build_tensors(self, start_offs: int, fields: Any) -> None:
        del start_offs, fields
