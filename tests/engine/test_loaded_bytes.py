"""What the headers say that a model will take is what it takes: weights and KV cache, to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llmrt.config import EngineConfig
from llmrt.engine.loading.build import build_engine
from llmrt.engine.loading.load_model import load_model, open_model
from llmrt.engine.planning.memory import MemoryPlanner, budget_of, kv_bytes_per_token
from llmrt.engine.planning.settle import bytes_of_a_token, loaded_bytes, settle_on
from llmrt.engine.runners.cpu_runner import CpuRunner
from llmrt.model.checkpoints.headers import AssumedHeaders, open_headers
from llmrt.model.checkpoints.tensor_slots import num_active_parameters
from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.packed_linear import PackedModule
from tests.gguf_files import write_gguf
from tests.tiny import make_model, save_model

# Rows of the vocabulary and columns of the MLP are no whole blocks and groups.
SHAPE = {"hidden_size": 160, "intermediate_size": 224, "head_dim": 32, "num_attention_heads": 4, "vocab_size": 133}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "experts": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "fp32": {"dtype": "fp32"},
    "bf16": {"dtype": "bf16"},
    "fp16 by torch": {"dtype": "fp16"},
    "int8": {"quant": "int8"},
    "int4": {"quant": "int4"},
}


def settled(path: Path, **settings: Any) -> tuple[int, EngineConfig]:
    """Bytes of the weights, and the configuration that they are loaded under."""
    headers = open_headers(path)
    config, _ = settle_on(headers, EngineConfig(device="cpu", **settings), lambda: 10**12)
    return loaded_bytes(headers, config), config


def held(decoder: Decoder) -> int:
    """Bytes of all that holds weights; the head and the table may be the same."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors(decoder)}.values())


def tensors(decoder: Decoder) -> Iterator[Tensor]:
    yield from decoder.state_dict().values()
    for module in decoder.modules():
        if isinstance(module, PackedModule):
            held = [t for p in module.pieces for t in (p.matrix.data, p.matrix.scales, p.matrix.offsets)]
            yield from (t for t in (*held, module.bias) if t is not None)


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family, fields = FAMILIES[request.param]
    model = make_model(family, dtype=torch.bfloat16, **SHAPE, **fields)
    return save_model(model, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("settings", SETTINGS)
def test_weights_take_what_the_headers_say(folder: Path, settings: str) -> None:
    said, config = settled(folder, **SETTINGS[settings])
    assert said == held(load_model(open_model(folder), config, 64, keep=False).decoder)


def test_sizes_that_the_kernels_do_not_serve_are_counted_too(tmp_path: Path) -> None:
    path = save_model(make_model("llama"), tmp_path)
    for settings in ({"dtype": "fp32"}, {"quant": "int4"}):
        said, config = settled(path, **settings)
        assert said == held(load_model(open_model(path), config, 64, keep=False).decoder)


def test_a_gguf_file_is_counted_as_it_will_be_unpacked(tmp_path: Path) -> None:
    path = write_gguf(make_model("llama", **{**SHAPE, "hidden_size": 128}), tmp_path / "tiny.gguf")
    for settings in ({"dtype": "fp32"}, {"quant": "int8"}):
        said, config = settled(path, **settings)
        assert said == held(load_model(open_model(path), config, 64, keep=False).decoder)


@pytest.mark.parametrize("kv_dtype", ["fp32", "fp16", "int8"])
def test_the_cache_takes_what_the_plan_says(folder: Path, kv_dtype: str) -> None:
    said, config = settled(folder, quant="int4", kv_dtype=kv_dtype, context_length=200, max_num_seqs=2)
    shape = open_headers(folder).config
    budget = budget_of(shape, config, 10**12)
    plan = MemoryPlanner(shape, config, said, budget).plan()
    engine = build_engine(folder, config)
    runner = engine._runner
    assert isinstance(runner, CpuRunner)
    layers = runner._kv.layers
    pages = [t for layer in layers for t in (layer.k, layer.v, layer.k_scales, layer.v_scales) if t is not None]
    per_block = config.block_size * kv_bytes_per_token(shape, config.kv_dtype)
    assert sum(page.numel() * page.element_size() for page in pages) == plan.num_blocks * per_block


def test_a_token_reads_the_active_experts_and_one_table(folder: Path) -> None:
    """In fp32 every number that it multiplies with takes 4 bytes."""
    shape = open_headers(folder).config
    headers = AssumedHeaders(shape, "fp32")
    config, _ = settle_on(headers, EngineConfig(device="cpu", dtype="fp32"), lambda: 10**12)
    padding = 4 * shape.hidden_size * (-shape.vocab_size % 16)
    assert bytes_of_a_token(headers, config) == 4 * num_active_parameters(shape) + padding
