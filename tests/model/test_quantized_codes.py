"""Folders that other tools quantized, kept in their codes: the same numbers, in what the kernels multiply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from llmrt.config import EngineConfig
from llmrt.engine.loading.load_model import load_model, open_model, settle
from llmrt.engine.planning.settle import loaded_bytes
from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.checkpoint import open_checkpoint
from llmrt.quant.scheme import QuantScheme
from llmrt_kernels.reference.linear_packed import dequantize
from tests import quantizers as by
from tests.engine.test_loaded_bytes import held
from tests.engines import on_reference, open_engine, score, typical_error
from tests.model.parity import prompt
from tests.model.test_bad_quantized_folders import says
from tests.model.test_quantized_folders import FAMILIES, FORMATS, GPTQ
from tests.quantizers import quantized_folder

GATE = "model.layers.0.mlp.gate_proj.weight"
DOWN = "model.layers.0.mlp.down_proj.weight"  # of 192 columns
SYMMETRIC = {**GPTQ, "sym": True}
ALL = {**FORMATS, "gptq-symmetric": (by.gptq(symmetric=True), SYMMETRIC)}

INT4, INT8, AFFINE = QuantScheme(4, 64), QuantScheme(8, 64), QuantScheme(4, 64, affine=True)
SCHEMES = {
    "gptq": AFFINE,
    "gptq-symmetric": INT4,
    "gptq-v2": AFFINE,
    "gptq-rows": AFFINE,
    "gptq-8": QuantScheme(8, 32, affine=True),
    "gptq-3": QuantScheme(4, 32),
    "gptq-2": QuantScheme(4, 32),
    "awq": AFFINE,
    "int4-groups": INT4,
    "int4-zeros": QuantScheme(4, 32, affine=True),
    "int4-rows": AFFINE,
    "int8-groups": INT8,
    "int8-rows": INT8,
    "int8-zeros": QuantScheme(8, 64, affine=True),
    "bnb-int8": INT8,
}
# Of other forms the kernels have no codes: their numbers are rounded.
ROUNDED = ALL.keys() - SCHEMES.keys()


@pytest.mark.parametrize("form", SCHEMES)
@pytest.mark.parametrize("name", [GATE, DOWN])
def test_codes_stand_for_the_tools_numbers(form: str, name: str, tmp_path: Path) -> None:
    """To the last bit, but that fp16 rounds offsets and 32-bit scales, and bf16 the numbers."""
    folder = tmp_path / "quantized"
    quantized_folder(folder, *ALL[form])
    checkpoint = open_checkpoint(folder)
    codes, numbers = checkpoint.load_codes(name, flat=False), checkpoint.load(name)
    assert codes is not None
    assert codes.scheme == checkpoint.inventory[name].scheme == SCHEMES[form]
    kept = dequantize(codes.pack().matrix, codes.scheme.group)
    if codes.offsets is None and form != "bnb-int8":
        assert torch.equal(kept.to(numbers.dtype), numbers)
    else:
        offset = 0 if codes.offsets is None else codes.offsets.abs().max()
        assert ((kept - numbers.float()).abs() <= 2**-7 * numbers.float().abs() + 2**-11 * offset).all()


@pytest.mark.parametrize("form", ALL)
def test_a_model_in_codes_is_the_one_in_floats(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "quantized"
    quantized_folder(folder, *ALL[form])
    expected = score(open_engine(folder, quant="none"), prompt(60))
    found = score(open_engine(folder, kv_dtype="fp32"), prompt(60))
    assert typical_error(score(on_reference(folder, monkeypatch), prompt(60)), expected) < 0.06
    assert typical_error(found, expected) < 0.1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", ["gptq-symmetric", "awq", "nf4"])
def test_families(family: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, (name, fields) = tmp_path / "quantized", FAMILIES[family]
    quantized_folder(folder, *ALL[form], name, **fields)
    expected = score(open_engine(folder, quant="none"), prompt(60))
    assert typical_error(score(on_reference(folder, monkeypatch), prompt(60)), expected) < 0.06


@pytest.mark.parametrize("form", ["gptq-symmetric", "awq", "gptq-act-order", "fp8"])
def test_memory_is_known_from_the_headers(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "quantized"
    quantized_folder(folder, *ALL[form])
    model = open_model(folder)
    config, _ = settle(model, EngineConfig(device="cpu"))
    assert loaded_bytes(model, config) == held(load_model(model, config, 64).decoder)


@pytest.mark.parametrize("form", ["nf4-nested", "gptq-act-order", "fp8-blocks", "gptq", "int8-rows"])
def test_rounding_is_said(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "quantized"
    quantized_folder(folder, *ALL[form])
    model = open_model(folder)
    _, notices = settle(model, EngineConfig(device="cpu"))
    said = [notice for notice in notices if "rounded to int8 in groups of 32, 8.5 bits a weight" in notice]
    assert len(said) == (form not in SCHEMES)
    assert not settle(model, EngineConfig(device="cpu", quant="none"))[1]


LIES: dict[str, tuple[str, Any, str]] = {
    "symmetric": ("gptq", says(sym=True), "qweight has codes too far from a zero for what the configuration says"),
    "order": ("gptq-act-order", says(desc_act=False), "g_idx has columns out of order, but desc_act is false"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_the_configuration_says_of_codes_must_hold(lie: str, tmp_path: Path) -> None:
    form, edit, message = LIES[lie]
    folder = tmp_path / "quantized"
    quantized_folder(folder, *ALL[form])
    edit(folder)
    with pytest.raises(CheckpointError, match=message):
        open_engine(folder)
