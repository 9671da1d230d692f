"""A GGUF file without its weights: what is left configures a model and its tokenizer."""

from __future__ import annotations

import struct
from pathlib import Path

from gguf import GGMLQuantizationType

from llmrt.model.families.gguf_fields import CONFIGURING_TENSORS, ROPE_TENSORS
from llmrt.text.gguf_parts import open_parts

_COUNT_OFFSET = 8  # magic, version, then the number of tensors


def write_gguf_head(source: Path, target: Path) -> None:
    """Copy the metadata of ``source`` as it is.

    Of its tensors stay the divisors of RoPE's frequencies and, as single zeros, those whose presence says something.
    """
    parts = open_parts(source)
    reader = parts[source]
    kept = [tensor for part in parts.values() for tensor in part.tensors if tensor.name in CONFIGURING_TENSORS]
    metadata_end = max(field.offset + sum(part.nbytes for part in field.parts) for field in reader.fields.values())
    head = bytearray(reader.data[:metadata_end].tobytes())
    struct.pack_into("<Q", head, _COUNT_OFFSET, len(kept))
    data = bytearray()
    for tensor in kept:
        values = tensor.data.astype("<f4").tobytes() if tensor.name in ROPE_TENSORS else b"\0\0\0\0"
        name = tensor.name.encode()
        head += struct.pack("<Q", len(name)) + name
        head += struct.pack("<IQIQ", 1, len(values) // 4, GGMLQuantizationType.F32, len(data))
        data += values + bytes(-len(values) % reader.alignment)
    head += bytes(-len(head) % reader.alignment)
    target.write_bytes(head + data)
