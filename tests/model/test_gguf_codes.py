"""GGUF files kept in their quantized form: each code and scale is the file's, and so is what the model computes."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind

from llmrt.config import EngineConfig
from llmrt.engine.loading.load_model import load_model, open_model, settle
from llmrt.engine.planning.settle import loaded_bytes
from llmrt.errors import CheckpointError, ConfigError
from llmrt.model.checkpoints.gguf.codes import codes_of, has_codes
from llmrt.model.checkpoints.gguf.headers import GgufHeaders
from llmrt.model.checkpoints.gguf.schemes import SCHEMES
from llmrt.model.checkpoints.kept import kept_schemes
from llmrt.model.checkpoints.tensor_slots import num_parameters, tensor_slots
from llmrt.model.modules.packed_linear import PackedModule
from llmrt.quant.scheme import QuantScheme
from llmrt.quant.stored_codes import holds
from llmrt_kernels.packed import Matrix
from llmrt_kernels.reference.linear_packed import dequantize
from tests.engine.test_loaded_bytes import held
from tests.engines import on_reference, open_engine, score, typical_error
from tests.gguf_files import SHAPE, quantized, round_weights, write_gguf
from tests.model.parity import DEFAULT, SMALL_EXPERTS, hf_logits, prompt
from tests.tiny import make_model

LARGER_EXPERTS = {**SMALL_EXPERTS, "moe_intermediate_size": 64, "shared_expert_intermediate_size": 128}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"attention_bias": True}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "experts": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
    "shared expert": (
        "qwen2_moe",
        {**SMALL_EXPERTS, "moe_intermediate_size": 64, "shared_expert_intermediate_size": 128},
    ),
    "fused": ("phi3", {"sliding_window": None, "pad_token_id": 0}),
    "partly rotated": ("phi", {"rope_parameters": {"partial_rotary_factor": 0.5, **DEFAULT}}),
}


IN_FORM = tuple(kind for kind, scheme in SCHEMES.items() if scheme.form)
EXACT = (Kind.Q4_0, Kind.Q8_0, *IN_FORM)
FLAT = tuple(kind for kind in SCHEMES if has_codes(kind, flat=True))
# Of the largest number of a group of 32: scales rounded to fp16 and, of Q6_K as int8, codes of the smaller half.
LARGEST_LOSS = {Kind.Q6_K: 2**-6.9}
SMALL_LOSS = 2**-10


def random_rows(kind: Kind) -> np.ndarray:
    return quantized(np.random.default_rng(0).normal(0, 0.02, (24, 2048)).astype(np.float32), kind)


def numbers(kind: Kind, *, flat: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """What the packed codes of random rows stand for, and what the library says."""
    rows = random_rows(kind)
    packed = codes_of(torch.from_numpy(rows), kind, flat=flat).pack()
    return dequantize(packed.matrix, packed.group), torch.from_numpy(gguf.quants.dequantize(rows, kind))


@pytest.mark.parametrize("kind", EXACT)
def test_packed_codes_are_the_librarys_numbers_to_the_last_bit(kind: Kind) -> None:
    ours, librarys = numbers(kind)
    assert torch.equal(ours, librarys)


@pytest.mark.parametrize("kind", [kind for kind in FLAT if kind not in EXACT or kind in IN_FORM])
def test_packed_codes_are_the_librarys_numbers_but_for_rounded_scales(kind: Kind) -> None:
    ours, librarys = (values.unflatten(1, (-1, 32)) for values in numbers(kind, flat=True))
    largest = librarys.abs().amax(2, keepdim=True)
    assert ((ours - librarys).abs() <= LARGEST_LOSS.get(kind, SMALL_LOSS) * largest).all()


def test_every_code_of_q3_k_is_exact_at_the_ends_of_its_range() -> None:
    """The smallest code times the smallest scale is 128, which int8 has only with the other sign."""
    block = np.zeros((1, 110), np.uint8)
    block[:, 108:] = np.array([1.0], np.float16).view(np.uint8)
    codes = codes_of(torch.from_numpy(block), Kind.Q3_K, flat=True).pack()
    assert torch.equal(dequantize(codes.matrix, 32)[:, :256], torch.full((1, 256), 128.0))


@pytest.mark.parametrize("kind", FLAT)
def test_wider_schemes_have_the_same_numbers(kind: Kind) -> None:
    codes = codes_of(torch.from_numpy(random_rows(kind)), kind, flat=True)
    own = dequantize(codes.pack().matrix, 32)
    for scheme in {scheme.flat for scheme in SCHEMES.values()}:
        if holds(scheme, codes.scheme):
            assert torch.equal(dequantize(codes.widened(scheme).pack().matrix, 32), own)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_as_stored_is_the_librarys(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the reference, which multiplies what the codes stand for, to rounding; on the kernels, near it."""
    family, fields = FAMILIES[name]
    model = make_model(family, **SHAPE, **fields)
    path = write_gguf(model, tmp_path / "tiny.gguf", Kind.Q8_0)
    expected = hf_logits(round_weights(model, Kind.Q8_0), prompt(60))
    assert (score(on_reference(path, monkeypatch), prompt(60)) - expected).abs().max() < 2e-4
    assert typical_error(score(open_engine(path, kv_dtype="fp32"), prompt(60)), expected) < 0.1


def test_matrices_of_several_types_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of one product in types of their own, interleaved ones in one that holds both, floats rounded to int8."""
    types = {"attn_v": Kind.Q8_0, "ffn_up": Kind.Q8_0, "token_embd": Kind.F16}

    def kind(name: str) -> Kind:
        return next((types[part] for part in types if part in name), Kind.Q4_0)

    model = make_model("llama", **SHAPE)
    path = write_gguf(model, tmp_path / "tiny.gguf", kind)
    expected = score(open_engine(path, quant="none"), prompt(60))
    bits = {name: [piece.bits for piece in pieces] for name, pieces in kept_matrices(path).items()}
    assert bits["layers.0.attention.qkv"] == [4, 8]
    assert bits["layers.0.mlp.gate_up"] == [8]
    assert bits["layers.0.mlp.down"] == [4]
    assert typical_error(score(on_reference(path, monkeypatch), prompt(60)), expected) < 0.05
    assert typical_error(score(open_engine(path, kv_dtype="fp32"), prompt(60)), expected) < 0.1


@pytest.mark.parametrize("kind", [*SCHEMES, Kind.IQ2_XXS, Kind.IQ3_S])
def test_a_model_of_each_type_is_near_its_numbers(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose codes are not taken over are rounded to int8, which costs a little more."""
    model = make_model("llama", hidden_size=256, intermediate_size=512)
    path = write_gguf(model, tmp_path / "tiny.gguf", kind)
    expected = score(open_engine(path, quant="none"), prompt(30))
    error = typical_error(score(on_reference(path, monkeypatch), prompt(30)), expected)
    assert error < (1e-5 if kind in EXACT else 2e-3 if kind in SCHEMES else 0.05)


@pytest.mark.parametrize(
    ("gate", "up", "limit"),
    [(Kind.Q2_K, Kind.Q3_K, 0.05), (Kind.IQ4_XS, Kind.Q5_K, 2e-3), (Kind.Q5_1, Kind.IQ4_NL, 2e-3)],
)
def test_a_gate_and_what_it_gates_of_two_types_are_kept_as_what_holds_both(
    gate: Kind, up: Kind, limit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which Q2_K has no codes but its own: its numbers are rounded."""
    model = make_model("llama", hidden_size=256, intermediate_size=512)
    kinds = {"ffn_gate": gate, "ffn_up": up}
    path = write_gguf(
        model, tmp_path / "tiny.gguf", lambda name: next((k for part, k in kinds.items() if part in name), gate)
    )
    expected = score(open_engine(path, quant="none"), prompt(30))
    kept = {name: [piece.form or piece.bits for piece in pieces] for name, pieces in kept_matrices(path).items()}
    assert kept["layers.0.mlp.gate_up"] == [8]
    assert typical_error(score(on_reference(path, monkeypatch), prompt(30)), expected) < limit


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_k_quants_side_by_side_are_kept_at_their_own_bits(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a Q4_K_M file, but for a gate and what it gates, where types that differ are kept as what holds both."""

    def kind(name: str) -> Kind:
        more = "attn_v", "ffn_down", "token_embd", "blk.1.ffn_gate"
        return Kind.Q6_K if name.startswith(more) or any(part in name for part in more) else Kind.Q4_K

    fields = {} if family == "llama" else {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}
    model = make_model(family, hidden_size=256, intermediate_size=512, **fields)
    path = write_gguf(model, tmp_path / "tiny.gguf", kind)
    expected = score(open_engine(path, quant="none"), prompt(60))
    kept = {name: [piece.form or piece.bits for piece in pieces] for name, pieces in kept_matrices(path).items()}
    assert kept["layers.0.attention.qkv"] == ["q4_k", "q6_k"]
    assert kept["layers.0.mlp.gate_up"] == ["q4_k"]
    assert kept["layers.1.mlp.gate_up"] == [8]
    assert kept["layers.0.mlp.down"] == kept["embedding"] == ["q6_k"]
    assert typical_error(score(on_reference(path, monkeypatch), prompt(60)), expected) < 5e-3
    assert typical_error(score(open_engine(path, kv_dtype="fp32"), prompt(60)), expected) < 0.1


def kept_matrices(path: Path) -> dict[str, list[Matrix]]:
    """Those of each product of a loaded model, which takes the bytes that were said."""
    model = open_model(path)
    config, _ = settle(model, EngineConfig(device="cpu"))
    decoder = load_model(model, config, 64).decoder
    assert loaded_bytes(model, config) == held(decoder)
    packed = {name: module for name, module in decoder.named_modules() if isinstance(module, PackedModule)}
    return {name: [piece.matrix for piece in module.pieces] for name, module in packed.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_packed_where_they_lie_are_those_that_torch_packs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, fields = FAMILIES[name]
    path = write_gguf(make_model(family, **SHAPE, **fields), tmp_path / "tiny.gguf", Kind.Q8_0)
    native = kept_matrices(path)
    monkeypatch.setenv("LLMRT_KERNELS", "reference")
    for module, matrices in kept_matrices(path).items():
        for ours, theirs in zip(native[module], matrices, strict=True):
            assert torch.equal(dequantize(ours, 32), dequantize(theirs, 32))


def test_a_device_without_kernels_for_them_keeps_what_stands_for_k_quants(tmp_path: Path) -> None:
    model = make_model("llama", hidden_size=256, intermediate_size=512)
    headers = GgufHeaders(write_gguf(model, tmp_path / "tiny.gguf", Kind.Q4_K))
    slots = tensor_slots(headers.config, headers.names)
    assert {*kept_schemes(headers.inventory, slots, "cuda").values()} == {QuantScheme(4, 32, affine=True)}


def test_floats_beside_codes_with_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("llama", **SHAPE)
    path = write_gguf(model, tmp_path / "tiny.gguf", lambda name: Kind.F16 if "ffn_up" in name else Kind.Q4_1)
    expected = score(open_engine(path, quant="none"), prompt(30))
    assert typical_error(score(on_reference(path, monkeypatch), prompt(30)), expected) < 0.05
    assert typical_error(score(open_engine(path, kv_dtype="fp32"), prompt(30)), expected) < 0.15


@pytest.mark.parametrize(
    ("quant", "settled"), [("stored", "stored"), ("auto", "stored"), ("none", "none"), ("int4", "int4")]
)
def test_what_quant_means_for_a_file_in_codes(quant: str, settled: str, tmp_path: Path) -> None:
    path = write_gguf(make_model("llama", **SHAPE), tmp_path / "tiny.gguf", Kind.Q8_0)
    config, notices = settle(open_model(path), EngineConfig(quant=quant))
    assert (config.quant, notices) == (settled, [])


@pytest.mark.parametrize("quant", ["stored", "none", "int4"])
def test_progress_ends_at_all_parameters(quant: str, tmp_path: Path) -> None:
    model = open_model(write_gguf(make_model("llama", **SHAPE), tmp_path / "tiny.gguf", Kind.Q8_0))
    done: list[int] = []
    config, _ = settle(model, EngineConfig(quant=quant, device="cpu"))
    load_model(model, config, 64, done.append, keep=False)
    assert sum(done) == num_parameters(model.config)


def test_a_file_of_floats_stays_one(tmp_path: Path) -> None:
    path = write_gguf(make_model("llama", **SHAPE), tmp_path / "tiny.gguf", Kind.BF16)
    config, _ = settle(open_model(path), EngineConfig())
    assert config.quant == "none"


def test_codes_are_not_calibrated(tmp_path: Path) -> None:
    path = write_gguf(make_model("llama", **SHAPE), tmp_path / "tiny.gguf", Kind.Q8_0)
    with pytest.raises(ConfigError, match="quantized already; --calibrate goes with --quant int8 or int4"):
        settle(open_model(path), EngineConfig(quant="auto", calibration=(1, 2, 3)))


def test_scales_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = write_gguf(make_model("llama", **SHAPE), tmp_path / "tiny.gguf", Kind.Q8_0)
    tensor = next(t for t in gguf.GGUFReader(path).tensors if t.name == "blk.0.attn_k.weight")
    with path.open("r+b") as file:
        file.seek(int(tensor.data_offset))
        file.write(np.float16("nan").tobytes())
    with pytest.raises(CheckpointError, match=r"tiny.gguf: tensor blk.0.attn_k.weight holds NaN or infinity"):
        open_engine(path)


def tensor_info(path: Path, name: str) -> tuple[int, gguf.ReaderTensor]:
    """Where the number of dimensions of a tensor stands, which its sizes, type and offset follow."""
    tensor = next(t for t in gguf.GGUFReader(path).tensors if t.name == name)
    return tensor.field.offset + 8 + len(name), tensor


@pytest.mark.parametrize(
    ("at", "code", "value", "message"),
    [
        (4, "<Q", 63, r"not a GGUF file that can be read|row size"),  # no whole blocks
        (4, "<Q", 2**40, r"ends at byte|not a GGUF file that can be read"),
        (12, "<Q", 16, r"tensor blk.0.attn_k.weight has shape \[16, 64\]; the configuration asks for \[32, 64\]"),
        (20, "<I", 999, r"999\)? is not a valid"),
        (24, "<Q", 2**40, r"ends at byte"),
    ],
)
def test_a_tensor_that_is_not_what_it_says_is_one_clear_line(
    at: int, code: str, value: int, message: str, tmp_path: Path
) -> None:
    path = write_gguf(make_model("llama", **SHAPE), tmp_path / "tiny.gguf", Kind.Q8_0)
    start, _ = tensor_info(path, "blk.0.attn_k.weight")
    with path.open("r+b") as file:
        file.seek(start + at)
        file.write(struct.pack(code, value))
    with pytest.raises(CheckpointError, match=message) as caught:
        open_engine(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_loaded", [0, 1, 9])
def test_a_file_that_is_cut_while_it_is_loaded_is_an_error_of_one_line(num_loaded: int, tmp_path: Path) -> None:
    path = write_gguf(make_model("llama", **SHAPE), tmp_path / "tiny.gguf", Kind.Q8_0)
    model = open_model(path)
    config, _ = settle(model, EngineConfig(device="cpu"))
    sizes = iter([path.stat().st_size] * num_loaded)

    def cut(_: int) -> None:
        os.truncate(path, next(sizes, 64))

    cut(0)
    with pytest.raises(CheckpointError, match=re.escape(f"{path} became shorter while it was read")):
        load_model(model, config, 64, cut)
