"""Whatever is wrong with a quantized folder, one line names the file and the tensor or field to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from llmrt.errors import CheckpointError
from tests.engines import open_engine
from tests.model.edits import Edit, edit_json, edit_weights, truncate
from tests.model.test_quantized_folders import FORMATS, GPTQ
from tests.quantizers import quantized_folder

Q = "model.layers.1.self_attn.q_proj"


def without(name: str) -> Edit:
    return edit_weights(lambda held: held.pop(f"{Q}.{name}"))


def cut(name: str) -> Edit:
    return edit_weights(lambda held: held.update({f"{Q}.{name}": held[f"{Q}.{name}"][1:].clone()}))


def put(name: str, value: float) -> Edit:
    """Into the first place."""
    return edit_weights(lambda held: held[f"{Q}.{name}"].view(-1)[:1].fill_(value))


def new(name: str, value: torch.Tensor) -> Edit:
    return edit_weights(lambda held: held.update({f"{Q}.{name}": value}))


def says(**changes: Any) -> Edit:
    return edit_json("config.json", lambda values: values["quantization_config"].update(changes))


def weights_say(**changes: Any) -> Edit:
    def change(values: Any) -> None:
        values["quantization_config"]["config_groups"]["group_0"]["weights"].update(changes)

    return edit_json("config.json", change)


def state(**changes: Any) -> Edit:
    def change(held: dict[str, torch.Tensor]) -> None:
        name = f"{Q}.weight.quant_state.bitsandbytes__nf4"
        said = json.loads(bytes(held[name].tolist()))
        held[name] = torch.tensor(list(json.dumps({**said, **changes}).encode()), dtype=torch.uint8)

    return edit_weights(change)


CASES: dict[str, tuple[str, Edit, str]] = {
    "method": ("gptq", says(quant_method="aqlm"), "quant_method is 'aqlm'; supported are gptq, awq, .* or not at all"),
    "no method": ("gptq", says(quant_method=None), "quant_method is ''; supported are"),
    "format": (
        "gptq",
        says(checkpoint_format="marlin"),
        "checkpoint_format is 'marlin'; supported are gptq and gptq_v2",
    ),
    "bits unknown": ("gptq", says(bits=5), "bits is 5; supported here are 2, 3, 4, 8"),
    "bits lie": (
        "gptq",
        says(bits=8),
        r"qweight has shape \[16, 128\]; GPTQ, 8 bits, groups of 64 asks for \[32, 128\]",
    ),
    "group lies": ("gptq", says(group_size=32), r"qzeros has shape \[2, 16\]; GPTQ, 4 bits, groups of 32 asks for"),
    "group of 0": ("gptq", says(group_size=0), "group_size is 0; it must be above 0, or -1"),
    "no group": ("gptq", says(group_size=None), "the field group_size is missing"),
    "bad rule": ("gptq", says(dynamic={"+:(": {"bits": 8}}), r"dynamic: '\+:\(' is not a regular expression"),
    "no zeros": ("gptq", without("qzeros"), f"the tensor {Q}.qzeros is missing; GPTQ, 4 bits, groups of 64 has one"),
    "cut zeros": ("gptq", cut("qzeros"), rf"tensor {Q}.qzeros has shape \[1, 16\]"),
    "no scales": ("gptq", without("scales"), f"the tensor {Q}.scales is missing"),
    "no words": ("gptq", without("qweight"), f"the tensor {Q}.weight is missing"),
    "words of another type": ("gptq", new("qweight", torch.zeros(16, 128)), f"{Q}.qweight is of type F32; .* as I32"),
    "NaN scale": ("gptq", put("scales", float("nan")), f"tensor {Q}.weight holds NaN or infinity"),
    "group too high": ("gptq", put("g_idx", 2), f"tensor {Q}.g_idx names a group that is not among the 2 of GPTQ"),
    "group below 0": ("gptq", put("g_idx", -2), f"tensor {Q}.g_idx names a group"),
    "bias of no place": ("gptq", new("bias", torch.ones(128)), f"{Q}.bias has no place in a model of this"),
    "truncated": ("gptq", truncate("model.safetensors", 0.5), "is truncated or not a safetensors file"),
    "awq form": ("awq", says(version="gemv"), "version is 'gemv'; supported is gemm"),
    "awq bits": ("awq", says(bits=8), "bits is 8; supported here are 4"),
    "awq zeros": ("awq", cut("qzeros"), rf"tensor {Q}.qzeros has shape \[1, 16\]; AWQ, 4 bits, groups of 64 asks for"),
    "packed format": ("int4-zeros", says(config_groups={}), "the field config_groups is missing"),
    "packed bits": ("int4-zeros", weights_say(num_bits=3), "num_bits is 3; supported here are 2, 4, 8"),
    "packed bits lie": (
        "int4-zeros",
        weights_say(num_bits=8),
        r"q_proj.weight_packed has shape .* asks for \[128, 32\]",
    ),
    "strategy": ("int4-zeros", weights_say(strategy="token"), "strategy is 'token'; known are tensor, channel, group"),
    "packed shape": (
        "int4-zeros",
        new("weight_shape", torch.tensor([128, 64])),
        rf"{Q}.weight_shape is \[128, 64\]; the configuration asks for \[128, 128\]",
    ),
    "packed zeros": ("int4-zeros", without("weight_zero_point"), f"{Q}.weight_zero_point is missing"),
    "packed groups": (
        "int4-zeros",
        new("weight_g_idx", torch.full((128,), 9).int()),
        f"{Q}.weight_g_idx names a group",
    ),
    "sparse": ("int4-zeros", says(sparsity_config={"format": "sparse-24-bitmask"}), "sparse weights are not supported"),
    "no scale": (
        "int8-rows",
        without("weight_scale"),
        f"{Q}.weight_scale is missing; compressed-tensors, int8 has one",
    ),
    "float bits": ("float-rows", weights_say(num_bits=4), "num_bits is 4; supported here are 8"),
    "float of another": (
        "float-rows",
        new("weight", torch.zeros(128, 128).char()),
        "weight is of type I8; .* as F8_E4M3",
    ),
    "fp8 form": ("fp8", says(fmt="e5m2"), "fmt is 'e5m2'; supported is e4m3"),
    "fp8 block": ("fp8-blocks", says(weight_block_size=[128]), "weight_block_size is .128.; it must be two numbers"),
    "fp8 block lies": (
        "fp8-blocks",
        says(weight_block_size=[64, 64]),
        r"q_proj.weight_scale_inv has shape \[1, 1\]; fp8, blocks of 64 x 64 asks for \[2, 2\]",
    ),
    "fp8 no scale": ("fp8-blocks", without("weight_scale_inv"), f"{Q}.weight_scale_inv is missing"),
    "fp8 infinity": ("fp8-blocks", put("weight_scale_inv", float("inf")), f"{Q}.weight holds NaN or infinity"),
    "table kind": ("nf4", says(bnb_4bit_quant_type="int4"), "bnb_4bit_quant_type is 'int4'; known are nf4, fp4"),
    "table unsaid": ("nf4", says(load_in_4bit=False), "neither load_in_4bit nor load_in_8bit is true"),
    "table lacks scales": ("nf4", without("weight.absmax"), f"{Q}.weight.absmax is missing"),
    "table blocks": ("nf4", state(blocksize=128), "absmax has 256 numbers; 16384 in blocks of 128 ask for 128"),
    "table block of 0": ("nf4", state(blocksize=0), "blocksize is 0; it must be above 0"),
    "table shape": ("nf4", state(shape=[64, 256]), r"has the shape \[64, 256\]; the configuration asks for"),
    "table no JSON": (
        "nf4",
        new("weight.quant_state.bitsandbytes__nf4", torch.tensor([1, 2], dtype=torch.uint8)),
        "holds no JSON object",
    ),
    "table cut": ("nf4", cut("weight"), rf"{Q}.weight has shape \[8191, 1\]"),
    "nested lies": ("nf4", says(bnb_4bit_use_double_quant=True), "absmax is of type F32; .* has it as U8"),
    "nested cut": ("nf4-nested", cut("weight.nested_absmax"), "nested_absmax has 0 numbers; 256 in blocks of 256 ask"),
    "no SCB": ("bnb-int8", without("SCB"), f"the tensor {Q}.SCB is missing; bitsandbytes, int8 has one"),
    "NaN SCB": ("bnb-int8", put("SCB", float("nan")), f"tensor {Q}.weight holds NaN"),
    "tiles": ("bnb-int8", new("weight_format", torch.tensor(1, dtype=torch.uint8)), "weight_format is not 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_folder(case: str, tmp_path: Path) -> None:
    form, edit, message = CASES[case]
    folder = tmp_path / "quantized"
    quantized_folder(folder, *FORMATS[form])
    edit(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_engine(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_family_that_stores_columns_as_rows_is_refused_in_quantized_form(tmp_path: Path) -> None:
    folder = tmp_path / "quantized"
    fields = {"n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 256}
    quantized_folder(folder, FORMATS["gptq"][0], GPTQ, "gpt2", **fields)
    with pytest.raises(CheckpointError, match="a quantized gpt2 is not supported; use the model's full-precision copy"):
        open_engine(folder)
