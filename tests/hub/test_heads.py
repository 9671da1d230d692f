"""Headers of a repository: what is read of it is little, and says the same as the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmrt.errors import CheckpointError, DownloadError
from llmrt.hub import heads
from llmrt.hub.heads import model_heads
from llmrt.hub.request import read_request
from llmrt.model.checkpoints.headers import open_headers
from tests.gguf_files import write_gguf
from tests.hub.conftest import Serve
from tests.hub.samples import REPO, tiny_repo
from tests.tiny import make_model, save_model

LARGE = {"hidden_size": 256, "intermediate_size": 512, "vocab_size": 2000}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} | {"tokenizer.json": b"{}"}


def inventory(path: Path) -> dict[str, Any]:
    headers = open_headers(path)
    assert not hasattr(headers, "header")
    return {name: (stored.shape, stored.dtype) for name, stored in headers.inventory.items()}  # type: ignore[union-attr]


@pytest.mark.parametrize("no_range", [False, True])
def test_headers_of_shards_are_read_and_no_weights(
    serve: Serve, tmp_path: Path, no_range: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "FIRST_BYTES", 1 << 10)
    folder = save_model(make_model("llama", **LARGE), tmp_path / "model", max_shard_size="2MB")
    hub = serve({REPO: files_of(folder)})
    hub.faults.no_range = no_range
    with model_heads(read_request(REPO, None)) as path:
        assert inventory(path) == inventory(folder)
        assert open_headers(path).config == open_headers(folder).config
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 1
    if not no_range:
        for shard in shards:
            header = 8 + int.from_bytes(shard.read_bytes()[:8], "little")
            assert header <= hub.sent[shard.name] <= header + (1 << 10)
    assert hub.sent["tokenizer.json"] == 0
    assert not path.exists()


def test_the_head_of_a_gguf_file_is_read_as_far_as_it_goes(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "FIRST_BYTES", 1 << 9)
    file = write_gguf(make_model("llama", **LARGE, num_attention_heads=4), tmp_path / "tiny.gguf")
    hub = serve({REPO: {"tiny.gguf": file.read_bytes()}})
    with model_heads(read_request(f"{REPO}:tiny.gguf", None)) as path:
        assert path.stat().st_size == file.stat().st_size
        assert inventory(path) == inventory(file)
    assert hub.sent["tiny.gguf"] < file.stat().st_size / 10


def test_the_heads_of_all_parts_of_a_gguf_model_are_read(serve: Serve, tmp_path: Path) -> None:
    model = make_model("llama", **LARGE, num_attention_heads=4)
    write_gguf(model, tmp_path / "tiny.gguf", tensors_of_a_part=9)
    files = sorted(tmp_path.glob("*.gguf"))
    serve({REPO: {file.name: file.read_bytes() for file in files}})
    with model_heads(read_request(REPO, None)) as path:
        assert inventory(path) == inventory(files[0])


def test_what_is_no_model_is_said_to_be_none(serve: Serve) -> None:
    serve({REPO: tiny_repo(), "org/gguf": {"m.gguf": b"GGML" + bytes(100)}})
    with pytest.raises(CheckpointError, match=r"model.safetensors of org/tiny is truncated or not a safetensors file"):
        model_heads(read_request(REPO, None)).__enter__()
    with pytest.raises(CheckpointError, match=r"m.gguf is not a GGUF file"):
        model_heads(read_request("org/gguf:m.gguf", None)).__enter__()


def test_a_licence_that_is_not_accepted_is_named(serve: Serve) -> None:
    hub = serve({REPO: tiny_repo()})
    hub.faults.gated.add(REPO)
    with pytest.raises(DownloadError, match="org/tiny is gated: accept its licence"):
        model_heads(read_request(REPO, None)).__enter__()
