"""Packed weights in a file: written once, mapped afterwards, made anew when they are not what they should be."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType
from safetensors.torch import load_file

from llmrt.config import EngineConfig
from llmrt.engine.conversion.quantized_folder import write_quantized
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading import packed_cache
from llmrt.engine.loading.build import assemble_engine, build_engine
from llmrt.engine.loading.calibration_tokens import random_tokens
from llmrt.engine.loading.packed_cache import origin_of, write_packed
from llmrt.errors import CheckpointError, ConfigError, DownloadError
from llmrt.hub.local import local_artifact
from llmrt.hub.packed import packed_copies, packed_copy, remove_copies
from llmrt.model.checkpoints.checkpoint import open_checkpoint
from llmrt.model.checkpoints.packed_header import read_header
from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from llmrt.model.checkpoints.source_identity import source_identity
from llmrt.model.loading.packed_file import ALIGNMENT, map_decoder
from llmrt.model.loading.random_decoder import random_decoder
from llmrt.model.modules.packed_linear import PackedEmbedding, PackedModule
from llmrt.ops.types import OpSpec
from llmrt.presets import Sampling
from llmrt.quant.packed_weight import PackedWeight
from llmrt.quant.recipe import ROLES, Recipe
from llmrt.quant.scheme import QuantScheme
from llmrt.text.generation_defaults import load_generation_defaults
from tests.engines import greedy, open_engine, score
from tests.gguf_files import write_gguf
from tests.tiny import make_model, save_model

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "mistral": ("mistral", {"sliding_window": 16}),
    "mixtral": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
}
SHAPE = {"hidden_size": 160, "intermediate_size": 224, "head_dim": 32, "num_attention_heads": 4}
PROMPT = list(range(3, 60))


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    family, fields = FAMILIES[request.param]
    return save_model(make_model(family, **SHAPE, **fields), tmp_path / "model")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return save_model(make_model("llama", **SHAPE), tmp_path / "small")


def notices(engine: LLMEngine) -> str:
    return " ".join(engine.notices)


@pytest.mark.parametrize("quant", ["int8", "int4"])
def test_the_second_start_maps_the_file_and_computes_the_same_bits(
    folder: Path, quant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_engine(folder, quant=quant)
    copy = packed_copy(folder, quant)
    assert copy == folder / ".llmrt" / f"{quant}.safetensors"
    assert str(copy) in notices(first)
    written = copy.stat().st_mtime_ns
    monkeypatch.setattr(packed_cache, "load_decoder", None)
    second = open_engine(folder, quant=quant)
    assert second.notices == []
    assert copy.stat().st_mtime_ns == written
    assert torch.equal(score(first, PROMPT), score(second, PROMPT))


def test_the_file_is_ordinary_safetensors_with_aligned_tensors(folder: Path) -> None:
    open_engine(folder, quant="int4")
    tensors = load_file(packed_copy(folder, "int4"))
    start = min(tensor.data_ptr() for tensor in tensors.values())
    for name, tensor in tensors.items():
        assert name.startswith("padding.") or (tensor.data_ptr() - start) % ALIGNMENT == 0, name
    held = packed_copy(folder, "int4").read_bytes()
    assert (8 + int.from_bytes(held[:8], "little")) % ALIGNMENT == 0


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "another model"])
def test_a_file_that_is_not_it_is_made_anew_with_one_notice(small: Path, tmp_path: Path, damage: str) -> None:
    expected = score(open_engine(small, quant="int8"), PROMPT)
    copy = packed_copy(small, "int8")
    whole = copy.read_bytes()
    if damage == "another model":
        other = save_model(make_model("llama", seed=1, **SHAPE), tmp_path / "other")
        open_engine(other, quant="int8")
        copy.write_bytes(packed_copy(other, "int8").read_bytes())
    else:
        copy.write_bytes({"cut": whole[:-100], "text": b"hello, this is no weight", "empty": b""}[damage])
    engine = open_engine(small, quant="int8")
    assert notices(engine).count("quantized anew") == 1
    assert torch.equal(score(engine, PROMPT), expected)
    assert copy.read_bytes() == whole
    assert open_engine(small, quant="int8").notices == []


def test_another_recipe_does_not_take_it(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_engine(small, quant="int8")
    monkeypatch.setattr("llmrt.model.checkpoints.packed_header.FORMAT", 3)
    assert "quantized anew" in notices(open_engine(small, quant="int8"))


def test_offsets_are_kept_too(small: Path, tmp_path: Path) -> None:
    recipe = Recipe("affine", dict.fromkeys(ROLES, QuantScheme(4, 32, affine=True)))
    checkpoint = RandomCheckpoint(open_checkpoint(small).config)
    spec = OpSpec("cpu", torch.float32, group=32)
    decoder = random_decoder(checkpoint, 64, spec, lambda _: None, recipe)
    (table,) = (p for m in decoder.modules() if isinstance(m, PackedEmbedding) for p in m.pieces)
    assert isinstance(table, PackedWeight)
    assert table.offsets is not None
    table.offsets.normal_()
    origin = origin_of(small, recipe, random_tokens(checkpoint.config))
    write_packed(tmp_path / "affine", decoder, origin)
    header = read_header(tmp_path / "affine")
    assert header.made_as(origin)
    mapped = map_decoder(tmp_path / "affine", header, checkpoint.config, 64, spec)
    tokens = torch.tensor([5, 3])
    assert torch.equal(mapped.embedding(tokens), decoder.embedding(tokens))
    for name, module in decoder.named_modules():
        if isinstance(module, PackedModule):
            twin = mapped.get_submodule(name)
            assert [p.scheme for p in twin.pieces] == [p.scheme for p in module.pieces]
            assert all(
                torch.equal(ours, theirs)
                for one, other in zip(twin.pieces, module.pieces, strict=True)
                for ours, theirs in zip(one.tensors, other.tensors, strict=True)
            )


def test_each_calibration_has_a_copy_of_its_own(small: Path) -> None:
    texts: tuple[tuple[int, ...] | None, ...] = (None, tuple(range(3, 90)) * 2, tuple(range(90, 3, -1)) * 2)
    first = [score(open_engine(small, quant="int4", calibration=text), PROMPT) for text in texts]
    assert not any(torch.equal(first[0], other) for other in first[1:])
    assert len(packed_copies(small)) == 3
    for text, expected in zip(texts, first, strict=True):
        again = open_engine(small, quant="int4", calibration=text)
        assert again.notices == []
        assert torch.equal(score(again, PROMPT), expected)


def test_a_copy_under_another_calibrations_name_is_not_served(small: Path) -> None:
    text = tuple(range(3, 90))
    open_engine(small, quant="int4", calibration=text)
    (copy,) = packed_copies(small)
    expected = copy.read_bytes()
    copy.rename(packed_copy(small, "int4"))
    assert "quantized anew" in notices(open_engine(small, quant="int4"))
    packed_copy(small, "int4").rename(copy)
    assert "quantized anew" in notices(open_engine(small, quant="int4", calibration=text))
    assert copy.read_bytes() == expected


def test_random_weights_leave_no_copy(small: Path) -> None:
    checkpoint = RandomCheckpoint(open_checkpoint(small).config)
    engine = assemble_engine(checkpoint, EngineConfig(quant="int4"))
    assert "next start" not in notices(engine)
    assert packed_copies(small) == []


def test_the_identity_is_of_content_not_place(small: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in small.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    assert source_identity(moved) == source_identity(small)
    weights = bytearray((moved / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (moved / "model.safetensors").write_bytes(weights)
    assert source_identity(moved) != source_identity(small)


def test_a_full_disk_costs_the_copy_not_the_start(small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    engine = open_engine(small, quant="int8")
    assert "are not kept for the next start: the disk of" in notices(engine)
    assert list((small / ".llmrt").iterdir()) == []
    with pytest.raises(DownloadError, match="is full; name another folder with --output"):
        write_quantized(open_checkpoint(small), tmp_path / "out", EngineConfig(quant="int8"), lambda _: None)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_folder_that_cannot_be_written_has_its_copy_in_the_store(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMRT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("llmrt.hub.packed.os.access", lambda *_: False)
    open_engine(small, quant="int8")
    (copy,) = packed_copies(small)
    assert copy.is_relative_to(tmp_path / "home" / "packed")
    assert open_engine(small, quant="int8").notices == []
    remove_copies(small)
    assert packed_copies(small) == []
    assert not copy.parent.exists()


def test_a_quantized_folder_stands_alone(folder: Path, tmp_path: Path) -> None:
    write_quantized(open_checkpoint(folder), tmp_path / "out", EngineConfig(quant="int4"), lambda _: None)
    assert packed_copies(folder) == []
    expected = score(open_engine(folder, quant="int4"), PROMPT)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    assert torch.equal(score(open_engine(tmp_path / "out"), PROMPT), expected)
    assert torch.equal(score(open_engine(tmp_path / "out", quant="int4"), PROMPT), expected)
    with pytest.raises(ConfigError, match="is packed as int4 already"):
        open_engine(tmp_path / "out", quant="int8")
    with pytest.raises(ConfigError, match="leave --calibrate out"):
        open_engine(tmp_path / "out", calibration=tuple(range(3, 90)))


@pytest.mark.parametrize("alignment", [None, 64])
def test_a_gguf_file_becomes_a_folder_too(tmp_path: Path, alignment: int | None) -> None:
    model = make_model("llama", tie_word_embeddings=True)
    source = write_gguf(model, tmp_path / "tiny.gguf", alignment=alignment)
    expected = score(open_engine(source, quant="int8"), PROMPT)
    write_quantized(open_checkpoint(source), tmp_path / "out", EngineConfig(quant="int8"), lambda _: None)
    source.unlink()
    head = tmp_path / "out" / "out.gguf"
    assert head.stat().st_size < 100_000
    assert torch.equal(score(open_engine(head), PROMPT), expected)


def test_what_auto_leaves_as_it_is_makes_no_folder(tmp_path: Path) -> None:
    source = write_gguf(make_model("llama", **SHAPE), tmp_path / "tiny.gguf", GGMLQuantizationType.Q8_0)
    with pytest.raises(ConfigError, match=r"leaves .*tiny.gguf as it is; use int8 or int4"):
        write_quantized(open_checkpoint(source), tmp_path / "out", EngineConfig(quant="auto"), lambda _: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["folder", "gguf"])
def test_a_quantized_folder_keeps_what_the_alias_says_of_sampling(form: str, tmp_path: Path) -> None:
    model = make_model("llama", tie_word_embeddings=True)
    source = save_model(model, tmp_path / "m") if form == "folder" else write_gguf(model, tmp_path / "m.gguf")
    said = Sampling(temperature=0.2, top_p=0.9, top_k=40)
    write_quantized(open_checkpoint(source), tmp_path / "out", EngineConfig(quant="int8"), lambda _: None, said)
    written = local_artifact(str(tmp_path / "out"))
    assert written is not None
    assert load_generation_defaults(written.path) == load_generation_defaults(source, said)


def test_what_a_publisher_recommends_beyond_the_range_is_told_and_a_wrong_value_refused_first(tmp_path: Path) -> None:
    source = save_model(make_model("llama", **SHAPE), tmp_path / "m")
    recommended = source / "generation_config.json"
    recommended.write_text('{"do_sample": true, "top_p": 0, "top_k": 1000000000}')
    assert f"{recommended}: top_p is 0.0; it must be above 0.0" in notices(open_engine(source))
    done: list[int] = []
    write_quantized(open_checkpoint(source), tmp_path / "out", EngineConfig(quant="int8"), done.append)
    assert done and (tmp_path / "out").is_dir()
    recommended.write_text('{"temperature": "hot"}')
    done.clear()
    with pytest.raises(CheckpointError, match="temperature is 'hot'"):
        write_quantized(open_checkpoint(source), tmp_path / "no", EngineConfig(quant="int8"), done.append)
    assert not done


Header = dict[str, Any]
PIECE, DATA, BIAS = (f"layers.0.attention.output{end}" for end in ("", ".0", ".bias"))


def reshape(header: Header, name: str, dtype: str, *shape: int) -> None:
    header[name] |= {"dtype": dtype, "shape": [*shape]}


DAMAGED: dict[str, tuple[Callable[[Header, Header], object], str]] = {
    "no pieces": (lambda _, modules: modules.update({PIECE: []}), "not in pieces of 4 or 8 bits"),
    "bits": (lambda _, modules: modules[PIECE][0].update(bits=16), "not in pieces of 4 or 8 bits"),
    "no bits": (lambda _, modules: modules[PIECE][0].update(bits=0), "not in pieces of 4 or 8 bits"),
    "other bits": (lambda _, modules: modules[PIECE][0].update(bits=8), f"{DATA} is not of the shape"),
    "no group": (lambda _, modules: modules[PIECE][0].update(group=0), "and one group"),
    "another group": (lambda _, modules: modules[PIECE][0].update(group=16), "and one group"),
    "rows": (lambda _, modules: modules[PIECE][0].update(rows=176), f"{DATA} is not of the shape"),
    "no rows": (lambda _, modules: modules[PIECE][0].update(rows=-160), "not in pieces of 4 or 8 bits"),
    "columns": (lambda _, modules: modules[PIECE][0].update(columns=96), r"has shape \[160, 96\]"),
    "offsets": (lambda _, modules: modules[PIECE][0].update(affine=True), f"{DATA}.offsets"),
    "turned": (lambda header, _: reshape(header, f"{DATA}.data", "U8", 16, 10, 64), f"{DATA} is not of the shape"),
    "type": (lambda header, _: reshape(header, f"{DATA}.scales", "I8", 10, 2, 32), f"{DATA} is not of the shape"),
    "a norm's type": (lambda header, _: reshape(header, "norm.weight", "F16", 320), r"norm.weight is of type .*16;"),
    "a norm's size": (lambda header, _: reshape(header, "norm.weight", "F32", 2, 80), "norm.weight"),
    "a bias's type": (lambda header, _: reshape(header, BIAS, "I8", 640), f"{BIAS} is of type torch.int8; .*float32"),
    "a bias's size": (lambda header, _: reshape(header, BIAS, "F32", 2, 80), rf"{BIAS} has shape \[2, 80\]"),
    "no bias": (lambda header, _: header.update({"a": header.pop(BIAS)}), BIAS),
    "no place": (lambda header, _: header["norm.weight"].update(data_offsets=[0]), "was not written by this version"),
    "a stranger": (lambda _, modules: modules.update(nobody=modules[PIECE]), "nobody"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_file_that_is_not_what_its_header_says_is_refused(tmp_path: Path, case: str) -> None:
    damage, message = DAMAGED[case]
    source, out = save_model(make_model("llama", **SHAPE, attention_bias=True), tmp_path / "m"), tmp_path / "out"
    write_quantized(open_checkpoint(source), out, EngineConfig(quant="int4"), lambda _: None)
    file = out / "packed.safetensors"
    content = file.read_bytes()
    size = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:size])
    described = json.loads(header["__metadata__"]["llmrt"])
    damage(header, described["modules"])
    header["__metadata__"]["llmrt"] = json.dumps(described)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[size:])
    with pytest.raises(CheckpointError, match=message) as caught:
        build_engine(out, EngineConfig())
    assert str(file) in str(caught.value)


def test_a_damaged_folder_is_refused(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_quantized(open_checkpoint(small), out, EngineConfig(quant="int8"), lambda _: None)
    packed = out / "packed.safetensors"
    packed.write_bytes(packed.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="but its header describes"):
        build_engine(out, EngineConfig())


def test_auto_is_int8_for_a_small_model_and_says_why(small: Path) -> None:
    engine = open_engine(small, quant="auto")
    assert engine.config.quant == "int8"
    assert engine.notices[0].startswith("quant auto: int8, for")
    assert greedy(engine, PROMPT, 3) == greedy(open_engine(small, quant="int8"), PROMPT, 3)
