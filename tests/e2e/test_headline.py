"""``llmrt serve mistral-7b --quant int4`` from an empty store: pull, quantize, answer; then again from the copy."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import httpx
import pytest
import torch

from llmrt.presets import find_preset
from tests.e2e.served_command import served_command
from tests.hub.hub_server import HubServer
from tests.server.serving import write_model
from tests.tiny import make_model, save_model

# Sizes that the native kernels serve, and a vocabulary that holds the tokenizer's.
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "head_dim": 32,
    "vocab_size": 270,
    "max_position_embeddings": 512,
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small sharded Mistral in bf16, as the hub has the large one."""
    folder = write_model(tmp_path_factory.mktemp("hub") / "mistral")
    defaults = (folder / "generation_config.json").read_bytes()
    save_model(make_model("mistral", dtype=torch.bfloat16, **SHAPE), folder, max_shard_size="300KB")
    (folder / "generation_config.json").write_bytes(defaults)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sum(name.endswith(".safetensors") for name in files) > 1
    return files


def answer(url: str) -> str:
    body = {"model": "mistral-7b", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 12, "seed": 1}
    reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
    assert reply.status_code == 200, reply.text
    return json.dumps(reply.json()["choices"][0]["message"])


def test_serve_mistral_7b_int4_and_again(repository: dict[str, bytes], tmp_path: Path) -> None:
    preset = find_preset("mistral-7b")
    assert preset is not None
    with HubServer({preset.repository: repository}) as hub:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "LLMRT_HOME": str(tmp_path / "llmrt")}
        settings |= {"NO_PROXY": "127.0.0.1,localhost"}
        serve = partial(served_command, "mistral-7b", "--quant", "int4", env=clean | settings)
        with serve() as served:
            assert "the next start takes them from there" in served.said
            first = answer(served.url)
        (copy,) = tmp_path.rglob("int4.safetensors")
        assert str(copy) in served.said
        written = copy.stat().st_mtime_ns
        requests = len(hub.seen)
        with serve() as served:
            assert "next start" not in served.said and "quantized anew" not in served.said
            assert answer(served.url) == first
        assert len(hub.seen) == requests
        assert copy.stat().st_mtime_ns == written
