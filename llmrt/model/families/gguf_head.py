"""A GGUF file without its weights: what is left configures a model and its tokenizer."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from gguf import GGMLQuantizationType, GGUFValueType

from llmrt.model.families.gguf_fields import CONFIGURING_TENSORS, ROPE_TENSORS
from llmrt.text.gguf_parts import open_parts

_COUNTS_OFFSET = 8  # magic, version, then the numbers of tensors and of metadata


def write_gguf_head(source: Path, target: Path, more: Mapping[str, float]) -> None:
    """Copy the metadata of ``source`` as it is, and write ``more`` after it.

    Of its tensors stay the divisors of RoPE's frequencies and, as single zeros, those whose presence says something.
    """
    parts = open_parts(source)
    reader = parts[source]
    kept = [tensor for part in parts.values() for tensor in part.tensors if tensor.name in CONFIGURING_TENSORS]
    metadata_end = max(field.offset + sum(part.nbytes for part in field.parts) for field in reader.fields.values())
    head = bytearray(reader.data[:metadata_end].tobytes())
    struct.pack_into("<QQ", head, _COUNTS_OFFSET, len(kept), _num_metadata(head) + len(more))
    for key, value in more.items():
        head += _string(key) + _number(value)
    data, alignment = bytearray(), int(reader.alignment)  # numpy's, where the file names it
    for tensor in kept:
        values = tensor.data.astype("<f4").tobytes() if tensor.name in ROPE_TENSORS else b"\0\0\0\0"
        head += _string(tensor.name)
        head += struct.pack("<IQIQ", 1, len(values) // 4, GGMLQuantizationType.F32, len(data))
        data += values + bytes(-len(values) % alignment)
    head += bytes(-len(head) % alignment)
    target.write_bytes(head + data)


def _num_metadata(head: bytes | bytearray) -> int:
    return struct.unpack_from("<QQ", head, _COUNTS_OFFSET)[1]


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _number(value: float) -> bytes:
    if isinstance(value, int):
        return struct.pack("<Ii", GGUFValueType.INT32, value)
    return struct.pack("<Id", GGUFValueType.FLOAT64, value)
