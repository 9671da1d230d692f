"""Folders that other tools quantized are the models that those tools say they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmrt.model.checkpoints.checkpoint import open_checkpoint
from tests import quantizers as by
from tests.model.parity import check_parity
from tests.quantizers import SHAPE, Members, Quantizer, quantized_folder

GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 64}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm", "zero_point": True}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3"}
BNB = {"quant_method": "bitsandbytes", "bnb_4bit_use_double_quant": False}
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}

FORMATS: dict[str, tuple[Quantizer, dict[str, Any]]] = {
    "gptq": (by.gptq(), GPTQ),
    "gptq-v2": (by.gptq(first_zero=0), {**GPTQ, "checkpoint_format": "gptq_v2"}),
    "gptq-act-order": (by.gptq(group=32, act_order=True), {**GPTQ, "group_size": 32, "desc_act": True}),
    "gptq-rows": (by.gptq(group=-1), {**GPTQ, "group_size": -1}),
    "gptq-8": (by.gptq(8, 32), {**GPTQ, "bits": 8, "group_size": 32}),
    "gptq-3": (by.gptq(3, 32), {**GPTQ, "bits": 3, "group_size": 32}),
    "gptq-2": (by.gptq(2, 32), {**GPTQ, "bits": 2, "group_size": 32}),
    "gptq-uneven": (by.gptq(group=80), {**GPTQ, "group_size": 80}),
    "awq": (by.awq, AWQ),
    "int4-groups": by.compressed("pack-quantized", num_bits=4, strategy="group", group_size=64),
    "int4-zeros": by.compressed("pack-quantized", num_bits=4, strategy="group", group_size=32, symmetric=False),
    "int4-rows": by.compressed("pack-quantized", num_bits=4, strategy="channel", symmetric=False),
    "int8-groups": by.compressed("pack-quantized", num_bits=8, strategy="group", group_size=64),
    "int8-rows": by.compressed("int-quantized", num_bits=8, strategy="channel"),
    "int8-zeros": by.compressed("int-quantized", num_bits=8, strategy="channel", symmetric=False),
    "float-rows": by.compressed("float-quantized", num_bits=8, type="float", strategy="channel"),
    "float-one": by.compressed("float-quantized", num_bits=8, type="float", strategy="tensor"),
    "float-blocks": by.compressed(
        "float-quantized", num_bits=8, type="float", strategy="block", block_structure=[128, 128]
    ),
    "fp8": (by.fp8(), FP8),
    "fp8-blocks": (by.fp8(128, "weight_scale_inv"), {**FP8, "weight_block_size": [128, 128]}),
    "nf4": (by.table("nf4", nested=False), {**BNB, **NF4}),
    "nf4-nested": (by.table("nf4", nested=True), {**BNB, **NF4, "bnb_4bit_use_double_quant": True}),
    "fp4": (by.table("fp4", nested=False), {**BNB, "load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}),
    "bnb-int8": (by.int8, {**BNB, "load_in_8bit": True}),
}


def check_numbers(folder: Path) -> None:
    """Every tensor equals that of the library or the formula to the last bit."""
    checkpoint = open_checkpoint(folder)
    expected = load_file(folder.parent / f"{folder.name}-dense" / "model.safetensors")
    assert checkpoint.inventory.keys() == expected.keys()
    for name, tensor in expected.items():
        found = checkpoint.load(name)
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor), name


@pytest.mark.parametrize("form", FORMATS)
def test_numbers_and_text_are_those_of_the_tool(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "quantized"
    model = quantized_folder(folder, *FORMATS[form])
    check_numbers(folder)
    check_parity(model, folder)


FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "fused": ("phi3", {"pad_token_id": 0}),
    "biased": ("qwen2", {}),
    "experts": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
    "fused by head": ("gpt_neox", {}),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", ["gptq-act-order", "int8-zeros", "nf4-nested"])
def test_families(family: str, form: str, tmp_path: Path) -> None:
    folder, (name, fields) = tmp_path / "quantized", FAMILIES[family]
    check_parity(quantized_folder(folder, *FORMATS[form], name, **fields), folder)


def test_a_bias_of_zeros_that_autogptq_writes_is_no_fault(tmp_path: Path) -> None:
    def quantize(weight: Tensor) -> tuple[Members, Tensor]:
        members, matrix = by.gptq()(weight)
        return {**members, "bias": torch.zeros(len(weight)).half()}, matrix

    check_parity(quantized_folder(tmp_path / "quantized", quantize, GPTQ), tmp_path / "quantized")


def test_what_is_said_of_activations_and_of_keys_and_values_is_no_fault(tmp_path: Path) -> None:
    folder = tmp_path / "quantized"
    model = quantized_folder(folder, *FORMATS["float-rows"])
    tensors = load_file(folder / "model.safetensors")
    layers = ("model.layers.0.self_attn.", "model.layers.1.self_attn.")
    tensors |= {f"{layer}{name}": torch.ones(1) for layer in layers for name in ("k_scale", "v_scale")}
    tensors |= {f"{layer}q_proj.input_scale": torch.ones(1) for layer in layers}
    save_file(tensors, folder / "model.safetensors")
    check_parity(model, folder)


@pytest.mark.parametrize(
    ("name", "said", "quantizer"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 64, "desc_act": False, "sym": True}, by.gptq()),
        ("quant_config.json", {"w_bit": 4, "q_group_size": 64, "zero_point": True, "version": "GEMM"}, by.awq),
    ],
)
def test_files_that_said_it_before_config_json_did(
    name: str, said: dict[str, Any], quantizer: Quantizer, tmp_path: Path
) -> None:
    folder = tmp_path / "quantized"
    model = quantized_folder(folder, quantizer, {})
    (folder / name).write_text(json.dumps(said))
    check_parity(model, folder)


def test_modules_with_bits_of_their_own(tmp_path: Path) -> None:
    """GPTQModel names them by regular expressions, of which the first that matches counts."""

    def quantize(weight: Tensor) -> tuple[Members, Tensor]:
        return by.gptq(8, 32)(weight) if weight.shape[1] == SHAPE["intermediate_size"] else by.gptq()(weight)

    dynamic = {r"-:.*\.lm_head": {}, r"+:.*\.down_proj$": {"bits": 8, "group_size": 32}, r".*\.down.*": {"bits": 2}}
    model = quantized_folder(tmp_path / "quantized", quantize, {**GPTQ, "dynamic": dynamic})
    check_parity(model, tmp_path / "quantized")


def test_compressed_groups_of_several_formats(tmp_path: Path) -> None:
    packed, config = FORMATS["int4-zeros"]
    floats, other = FORMATS["float-rows"]

    def quantize(weight: Tensor) -> tuple[Members, Tensor]:
        return (floats if weight.shape[1] == SHAPE["intermediate_size"] else packed)(weight)

    down = {**other["config_groups"]["group_0"], "targets": [r"re:.*down_proj$"]}
    groups = {"group_1": config["config_groups"]["group_0"], "group_0": down}
    said = {**config, "format": "mixed-precision", "config_groups": groups}
    check_parity(quantized_folder(tmp_path / "quantized", quantize, said), tmp_path / "quantized")


def test_words_and_scales_may_lie_in_several_shards(tmp_path: Path) -> None:
    folder = tmp_path / "quantized"
    model = quantized_folder(folder, *FORMATS["gptq-act-order"])
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for shard in set(weight_map.values()):
        save_file({name: tensors[name] for name in tensors if weight_map[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    check_parity(model, folder)
