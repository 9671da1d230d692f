"""Random GGUF files: read back by the gguf library, run by llmrt. States of llama.cpp: made longer, row by row."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from benchmarks.peers.file_types import FILE_TYPES
from benchmarks.peers.kv_state import StateError, tiled_state
from benchmarks.peers.random_gguf import DEVIATION, write_random_gguf
from llmrt.model.checkpoints.config_files import read_config
from llmrt.model.config import ModelConfig, MoeConfig
from llmrt.text.load_tokenizer import load_tokenizer
from tests.engines import greedy, open_engine

TINY = ModelConfig(
    family="llama",
    vocab_size=320,
    hidden_size=256,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=64,
    intermediate_size=512,
    norm_eps=2**-17,
    context_length=128,
)
MIXTRAL = replace(TINY, family="mixtral", moe=MoeConfig(8, 2, TINY.intermediate_size))
TIED = replace(TINY, tied_embeddings=True, hidden_size=192, num_heads=3, num_kv_heads=3)


@pytest.mark.parametrize(
    ("config", "file_type"),
    # These take rows of whole blocks alone: of 256 columns for most.
    [
        (config, name)
        for config in (TINY, MIXTRAL, TIED)
        for name, (_, kind) in FILE_TYPES.items()
        if config.hidden_size % gguf.GGML_QUANT_SIZES[kind][0] == 0
    ],
)
def test_weights_are_of_trained_size(tmp_path: Path, config: ModelConfig, file_type: str) -> None:
    path = write_random_gguf(tmp_path / "random.gguf", config, file_type)
    for tensor in gguf.GGUFReader(path).tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert np.isfinite(values).all()
        if "norm" in tensor.name:
            assert (values == 1).all()
        else:
            assert values.std() == pytest.approx(DEVIATION, rel=0.1), tensor.name
            assert abs(values.mean()) < DEVIATION / 4
    assert read_config(path) == replace(config, dtype=read_config(path).dtype)


@pytest.mark.parametrize(
    ("config", "tensor", "kind"),
    [
        (TINY, "output.weight", Kind.Q6_K),
        (TINY, "token_embd.weight", Kind.Q4_0),
        (TINY, "blk.1.attn_k.weight", Kind.Q4_0),
        (TIED, "token_embd.weight", Kind.Q8_0),  # rows of 192 are no whole blocks of Q6_K
        (MIXTRAL, "blk.1.attn_k.weight", Kind.Q8_0),
        (MIXTRAL, "blk.1.ffn_down_exps.weight", Kind.Q4_0),
        (MIXTRAL, "blk.1.ffn_gate_inp.weight", Kind.F32),
    ],
)
def test_types_are_those_that_llama_cpp_chooses(tmp_path: Path, config: ModelConfig, tensor: str, kind: Kind) -> None:
    path = write_random_gguf(tmp_path / "random.gguf", config)
    assert {each.name: each.tensor_type for each in gguf.GGUFReader(path).tensors}[tensor] == kind


def kinds(path: Path, num_layers: int, file_type: str, config: ModelConfig = TINY) -> dict[str, Kind]:
    file = write_random_gguf(path / "random.gguf", replace(config, num_layers=num_layers), file_type)
    return {each.name.removesuffix(".weight"): each.tensor_type for each in gguf.GGUFReader(file).tensors}


@pytest.mark.parametrize(("file_type", "kind"), [("Q4_K_M", Kind.Q4_K), ("Q5_K_M", Kind.Q5_K)])
def test_half_of_some_has_more_bits(tmp_path: Path, file_type: str, kind: Kind) -> None:
    of = kinds(tmp_path, 16, file_type)
    downs = [i for i in range(16) if of[f"blk.{i}.ffn_down"] == of[f"blk.{i}.attn_v"] == Kind.Q6_K]
    assert downs == [0, 1, 4, 7, 10, 13, 14, 15]
    assert of["blk.0.ffn_up"] == of["blk.2.ffn_down"] == of["blk.0.attn_output"] == of["token_embd"] == kind
    assert of["output"] == Kind.Q6_K


def test_few_matrices_of_q3_k_m_have_three_bits(tmp_path: Path) -> None:
    of = kinds(tmp_path, 16, "Q3_K_M")
    assert [of[f"blk.{i}.attn_v"] for i in range(3)] == [Kind.Q5_K, Kind.Q5_K, Kind.Q4_K]
    assert [of[f"blk.{i}.ffn_down"] for i in range(2)] == [Kind.Q5_K, Kind.Q4_K]
    assert of["blk.0.attn_output"] == Kind.Q4_K
    assert of["blk.0.attn_q"] == of["blk.0.attn_k"] == of["blk.0.ffn_gate"] == of["token_embd"] == Kind.Q3_K


@pytest.mark.parametrize(("num_kv_heads", "v"), [(2, Kind.IQ4_XS), (1, Kind.Q5_K)])
def test_shared_heads_of_iq4_xs_have_more_bits(tmp_path: Path, num_kv_heads: int, v: Kind) -> None:
    of = kinds(tmp_path, 16, "IQ4_XS", replace(TINY, num_kv_heads=num_kv_heads))
    assert of["blk.5.attn_v"] == v
    assert [of[f"blk.{i}.ffn_down"] for i in (1, 2)] == [Kind.Q5_K, Kind.IQ4_XS]


def test_eight_experts_have_attention_of_more_bits(tmp_path: Path) -> None:
    of = kinds(tmp_path, 16, "Q4_K_M", MIXTRAL)
    assert of["blk.2.attn_output"] == Kind.Q5_K
    assert [of[f"blk.{i}.ffn_down_exps"] for i in (1, 2)] == [Kind.Q6_K, Kind.Q4_K]


@pytest.mark.parametrize("config", [TINY, MIXTRAL, TIED], ids=["llama", "mixtral", "tied"])
def test_llmrt_runs_it(tmp_path: Path, config: ModelConfig) -> None:
    path = write_random_gguf(tmp_path / "random.gguf", config)
    token_ids = load_tokenizer(path).encode("w1 a")
    assert len(greedy(open_engine(path, threads=1), token_ids, 4)) == 4


def state(num_cells: int, rows: list[bytes], streams: bytes = b"", transposed: int = 0) -> bytes:
    """As llama.cpp lays it out: two layers of keys, two of values, rows of three bytes."""
    cells = b"".join(struct.pack("<iIi", position, 1, 0) for position in range(num_cells))
    data = b"".join(struct.pack("<iQ", 1, 3) + each for each in rows)
    head = struct.pack("<IIII", 7, 0, 1, num_cells)
    return head + cells + struct.pack("<II", transposed, 2) + data + streams


def test_a_state_is_made_longer() -> None:
    rows = [b"aaabbb", b"cccddd", b"eeefff", b"ggghhh"]
    longer = [b"aaabbbaaabbbaaa", b"cccdddcccdddccc", b"eeefffeeefffeee", b"ggghhhggghhhggg"]
    assert tiled_state(state(2, rows, b"\0\0\0\0"), 2, 5) == state(5, longer, b"\0\0\0\0")


def test_a_state_of_another_layout_is_refused() -> None:
    rows = [b"aaabbb"] * 4
    for other in (state(2, rows, b"more"), state(2, rows, transposed=1), state(3, [b"aaabbbccc"] * 4)):
        with pytest.raises(StateError):
            tiled_state(other, 2, 5)
