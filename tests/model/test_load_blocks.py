"""Loading into blocks: every number as it is stored, each once, and memory that says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from torch import Tensor

from llmrt.model.checkpoints.checkpoint import open_checkpoint
from llmrt.model.loading.load import load_decoder
from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.packed_linear import PackedModule
from llmrt.ops.types import OpSpec
from llmrt_kernels.reference.linear_packed import dequantize
from tests.engines import open_engine, score
from tests.gguf_files import write_gguf
from tests.tiny import make_model, save_model

SHAPE = {"hidden_size": 64, "intermediate_size": 80, "head_dim": 32, "vocab_size": 133}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "experts": ("mixtral", {"num_local_experts": 4}),
}


def in_blocks(path: Path, dtype: torch.dtype = torch.float32) -> Decoder:
    checkpoint = open_checkpoint(path)
    return load_decoder(
        checkpoint, 64, OpSpec("cpu", dtype, granule=checkpoint.config.granule_on("cpu"), in_blocks=True)
    )


def weights(decoder: Decoder) -> dict[str, Tensor]:
    """The numbers of each packed matrix, by the layer's name."""
    found: dict[str, Tensor] = {}
    for name, module in decoder.named_modules():
        if isinstance(module, PackedModule):
            (piece,) = module.pieces
            found[name] = dequantize(piece.matrix, piece.group)
    return found


def as_loaded_dense(path: Path, name: str) -> Tensor:
    """The same of a decoder that torch computes, rows of a gate and of what it gates in turns of 16."""
    weight = load_decoder(open_checkpoint(path), 64, OpSpec("cpu", torch.float32)).get_buffer(f"{name}.weight")
    if name.endswith("gate_up"):
        weight = weight.unflatten(-2, (2, -1, 16)).transpose(-4, -3)
    return weight.reshape(-1, weight.shape[-1])


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", FAMILIES)
def test_matrices_keep_their_numbers_and_their_type(family: str, stored: torch.dtype, tmp_path: Path) -> None:
    kind, fields = FAMILIES[family]
    path = save_model(make_model(kind, dtype=stored, **SHAPE, **fields), tmp_path)
    decoder = in_blocks(path)
    loaded = weights(decoder)
    assert len(loaded) == 2 + 4 * 2
    for name, numbers in loaded.items():
        assert torch.equal(numbers, as_loaded_dense(path, name))
    assert decoder.get_submodule("layers.1.mlp.down").pieces[0].data.dtype == stored
    assert decoder.get_submodule("layers.0.attention_norm").weight.dtype == torch.float32


def test_products_in_bf16_take_weights_rounded_to_it(tmp_path: Path) -> None:
    path = save_model(make_model("llama", **SHAPE), tmp_path)
    for name, numbers in weights(in_blocks(path, torch.bfloat16)).items():
        assert torch.equal(numbers, as_loaded_dense(path, name).bfloat16().float())


def test_tensors_of_one_matrix_may_be_stored_in_several_types(tmp_path: Path) -> None:
    model = make_model("llama", **SHAPE)
    layer = model.model.layers[0]
    layer.self_attn.k_proj.bfloat16()
    layer.mlp.gate_proj.half()
    layer.mlp.up_proj.bfloat16()
    path = save_model(model, tmp_path)
    loaded = weights(in_blocks(path))
    for name in ("layers.0.attention.qkv", "layers.0.mlp.gate_up"):
        assert torch.equal(loaded[name], as_loaded_dense(path, name))


@pytest.mark.parametrize(("stored", "kind"), [(torch.bfloat16, Kind.BF16), (torch.float16, Kind.F16)])
def test_a_gguf_file_gives_the_same_numbers(stored: torch.dtype, kind: Kind, tmp_path: Path) -> None:
    model = make_model("llama", dtype=stored, **{**SHAPE, "hidden_size": 128})
    folder = save_model(model, tmp_path / "model")
    file = write_gguf(model.float(), tmp_path / "tiny.gguf", kind)
    assert open_checkpoint(file).inventory["token_embd.weight"].dtype == {Kind.BF16: "bf16", Kind.F16: "fp16"}[kind]
    prompt = list(range(3, 40))
    assert torch.equal(score(open_engine(folder), prompt), score(open_engine(file), prompt))


MEASURED = """
import torch
from llmrt.model.config import ModelConfig
from llmrt.model.loading.load import load_decoder
from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from llmrt.ops.types import OpSpec
config = ModelConfig(family="llama", vocab_size=512, hidden_size=2048, num_layers=3, num_heads=32, num_kv_heads=8,
    head_dim=64, intermediate_size=8192, norm_eps=1e-5, context_length=512)
def peak():  # not ru_maxrss, which a process has from its parent
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
torch.ones(64, 64) @ torch.ones(64, 64)
checkpoint, before = RandomCheckpoint(config), peak()
decoder = load_decoder(checkpoint, 512, OpSpec("cpu", torch.float32, in_blocks=True))
print((peak() - before) * 1024)
"""


def test_memory_is_the_weights_and_a_tensor() -> None:
    """Three layers of 61 million bf16 values, whose largest tensors have 34 MB."""
    ran = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    held = 2 * 3 * 61e6
    assert held < int(ran.stdout) < held + 150e6
