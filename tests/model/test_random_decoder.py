"""Random weights that are drawn in place have the shapes of loaded ones, and their deviation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from llmrt.model.config import ModelConfig, MoeConfig
from llmrt.model.loading.load import load_decoder
from llmrt.model.loading.random_decoder import DEVIATION, random_decoder
from llmrt.model.modules.decoder import Decoder
from llmrt.model.modules.packed_linear import PackedModule
from llmrt.ops.types import OpSpec
from llmrt.quant.recipe import RECIPES
from llmrt_kernels.reference.linear_packed import dequantize

DENSE = ModelConfig(
    family="llama",
    vocab_size=160,
    hidden_size=128,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
    intermediate_size=192,
    norm_eps=1e-5,
    context_length=64,
)
SHAPES = {
    "dense": DENSE,
    "tied": replace(DENSE, tied_embeddings=True),
    "moe": replace(DENSE, moe=MoeConfig(num_experts=4, num_active=2, intermediate_size=DENSE.intermediate_size)),
}


def shapes(decoder: Decoder) -> dict[str, object]:
    packed = {
        name: [(piece.shape, piece.scheme, piece.data.shape, piece.scales.shape) for piece in module.pieces]
        for name, module in decoder.named_modules()
        if isinstance(module, PackedModule)
    }
    return packed | {name: (tensor.shape, tensor.dtype) for name, tensor in decoder.state_dict().items()}


@pytest.mark.parametrize("quant", ["none", "int8", "int4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_those_of_a_loaded_decoder(shape: str, quant: str) -> None:
    recipe = RECIPES.get(quant)
    spec = OpSpec("cpu", torch.float32, group=recipe.group if recipe else 0)
    checkpoint, counted = RandomCheckpoint(SHAPES[shape]), list[int]()
    drawn = random_decoder(checkpoint, 64, spec, counted.append, recipe)
    assert shapes(drawn) == shapes(load_decoder(checkpoint, 64, spec, recipe=recipe))
    assert all(not tensor.is_meta for tensor in drawn.state_dict().values())


@pytest.mark.parametrize("quant", ["int8", "int4"])
def test_packed_weights_have_the_deviation_of_dense_ones(quant: str) -> None:
    recipe = RECIPES[quant]
    spec = OpSpec("cpu", torch.float32, group=recipe.group)
    decoder = random_decoder(RandomCheckpoint(DENSE), 64, spec, lambda _: None, recipe)
    for module in decoder.modules():
        if isinstance(module, PackedModule):
            for piece in module.pieces:
                assert dequantize(piece.matrix, recipe.group).std().item() == pytest.approx(DEVIATION, rel=0.05)
