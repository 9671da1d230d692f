"""Loading with a recipe: the quantizer sees what transformers computes, and nothing but the model decides the codes."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from llmrt.engine.loading.calibration_tokens import random_tokens
from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.checkpoint import open_checkpoint
from llmrt.model.loading import calibration_stream
from llmrt.model.loading.load import load_decoder
from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.packed_linear import PackedModule
from llmrt.ops.types import OpSpec
from llmrt.quant.feedback import Feedback, feedback_from
from llmrt.quant.recipe import RECIPES
from llmrt_kernels.cpu.library import load
from tests.gguf_files import write_gguf
from tests.tiny import make_model, save_model

SHAPE = {"hidden_size": 160, "intermediate_size": 224, "num_attention_heads": 5, "num_key_value_heads": 1}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "window": ("mistral", {"sliding_window": 8}),
    "gemma2": ("gemma2", {"head_dim": 32, "sliding_window": 8}),
    "olmo2": ("olmo2", {}),
    "experts": ("mixtral", {"num_local_experts": 4}),
}
PROJECTIONS = ("q_proj", "o_proj", "gate_proj", "down_proj")


def quantized(path: Path, quant: str = "int4", context_length: int = 64) -> Decoder:
    checkpoint = open_checkpoint(path)
    spec = OpSpec("cpu", torch.float32, group=RECIPES[quant].group, granule=checkpoint.config.granule_on("cpu"))
    calibration = random_tokens(checkpoint.config)
    return load_decoder(checkpoint, context_length, spec, recipe=RECIPES[quant], calibration=calibration)


def inputs_in_transformers(model: PreTrainedModel, token_ids: Tensor) -> list[Tensor]:
    """What the projections of every layer get, [T, K] each."""
    seen: list[Tensor] = []
    for name, module in model.named_modules():
        if name.endswith(PROJECTIONS):
            module.register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten(0, 1)))
    with torch.no_grad():
        model(token_ids)
    return seen


@pytest.mark.parametrize("name", [*FAMILIES, "gguf"])
def test_matrices_see_what_they_see_in_transformers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family, fields = FAMILIES.get(name, ("llama", {}))
    model = make_model(family, **SHAPE, **fields)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    stored = deepcopy(model)
    path = write_gguf(stored, tmp_path / "tiny.gguf") if name == "gguf" else save_model(stored.bfloat16(), tmp_path)
    seen: list[Tensor] = []

    def watched(inputs: Tensor, **settings: Any) -> Feedback:
        seen.append(inputs)
        return feedback_from(inputs, **settings)

    monkeypatch.setattr(calibration_stream, "feedback_from", watched)
    decoder = quantized(path)
    expected = inputs_in_transformers(model, torch.tensor(random_tokens(decoder.config).sequences))
    assert len(seen) == len(expected)
    for inputs in expected:
        near = [x for x in seen if x.shape == inputs.shape and torch.allclose(x, inputs, rtol=1e-3, atol=1e-3)]
        assert len(near) == 1


def weights(decoder: Decoder) -> list[Tensor]:
    packed = [module for module in decoder.modules() if isinstance(module, PackedModule)]
    return [tensor for module in packed for piece in module.pieces for tensor in (piece.data, piece.scales)]


def test_the_codes_are_the_models_alone(tmp_path: Path) -> None:
    """Neither threads nor the context that is asked for change them."""
    path = save_model(make_model("llama", **SHAPE), tmp_path)
    library = load()
    assert library is not None
    made: list[list[Tensor]] = []
    for threads, context_length in ((1, 64), (3, 8)):
        library.set_threads(threads)
        torch.set_num_threads(threads)
        made.append(weights(quantized(path, context_length=context_length)))
        assert torch.get_num_threads() == threads
    assert len(made[0]) > 10
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


MEASURED = """
import torch
from llmrt.engine.loading.calibration_tokens import random_tokens
from llmrt.model.config import ModelConfig
from llmrt.model.loading.load import load_decoder
from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from llmrt.ops.types import OpSpec
from llmrt.quant.recipe import RECIPES
config = ModelConfig(family="llama", vocab_size=512, hidden_size=2048, num_layers=7, num_heads=32, num_kv_heads=8,
    head_dim=64, intermediate_size=8192, norm_eps=1e-5, context_length=512)
spec = OpSpec("cpu", torch.float32, group=64)
def peak():  # not ru_maxrss, which a process has from its parent
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
torch.ones(64, 64) @ torch.ones(64, 64)
checkpoint, calibration, before = RandomCheckpoint(config), random_tokens(config), peak()
decoder = load_decoder(checkpoint, 512, spec, recipe=RECIPES["int4"], calibration=calibration)
print((peak() - before) * 1024)
"""


def test_memory_is_what_is_packed_and_one_layer() -> None:
    """Seven layers of 61 million values: 850 MB as they are stored, 230 MB packed."""
    ran = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    grown, layer = int(ran.stdout), 61e6
    packed = 7 * layer * 4.375 / 8
    assert packed < grown < packed + 2 * layer + 250e6


def test_inputs_that_are_no_numbers_are_one_line(tmp_path: Path) -> None:
    model = make_model("llama", rms_norm_eps=0.0, **SHAPE)
    with torch.no_grad():
        model.model.embed_tokens.weight.zero_()
    folder = save_model(model, tmp_path)
    with pytest.raises(
        CheckpointError, match=rf"{folder}/model.safetensors: layers.0.attention.qkv: its inputs become NaN or infinity"
    ):
        quantized(folder)
