"""GGUF files of a shape and no meaning, for measuring a model that is not there.

    python -m benchmarks.peers.random_gguf 7b /tmp/7b.gguf [--type Q4_0]

Blocks are windows of one pool, each tensor's from its own offset: writing 7 billion weights then takes seconds. Their
codes are random bits and their scales are set, so that no weight is NaN and the deviation is that of trained ones.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Kind
from gguf import TokenType

from benchmarks.peers.file_types import FILE_TYPES, kind_of
from benchmarks.peers.shapes import SHAPES
from llmrt.model.checkpoints.tensor_slots import tensor_slots
from llmrt.model.config import ModelConfig
from llmrt.model.families.gguf_names import GGUF_NAMES

DEVIATION = 0.02
_POOL_BLOCKS = 1 << 16
# Where a block has its scale in fp16, and what stands there for a scale of 1: an offset centres codes that have one.
_SCALES = {
    Kind.Q4_0: (0, [1.0]),
    Kind.Q8_0: (0, [1.0]),
    Kind.Q3_K: (108, [1.0]),
    Kind.IQ4_XS: (0, [1.0]),
    Kind.Q4_K: (0, [1.0, 7.5]),
    Kind.Q5_K: (0, [1.0, 15.5]),
    Kind.Q6_K: (208, [1.0]),
}

Blocks = npt.NDArray[np.uint8]


def write_random_gguf(path: Path, config: ModelConfig, file_type: str = "Q4_0", seed: int = 0) -> Path:
    """Write a model of ``config``, its matrices of the types that llama.cpp's quantizer gives for ``file_type``."""
    writer = gguf.GGUFWriter(path, "llama")
    _add_shape(writer, config, file_type)
    _add_vocabulary(writer, config.vocab_size)
    slots = tensor_slots(config, GGUF_NAMES)
    kinds = {name: kind_of(name, slot, config, file_type) for name, slot in slots.items()}
    for name, slot in slots.items():
        shape = gguf.quant_shape_to_byte_shape(slot.shape, kinds[name])
        num_bytes = math.prod(shape)
        writer.add_tensor_info(name, shape, np.dtype(np.uint8), num_bytes, raw_dtype=kinds[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rng = np.random.default_rng(seed)
    pools = {each: _pool(each, rng) for each in sorted(set(kinds.values()))}
    ones = np.ones(config.hidden_size, np.float32).view(np.uint8)
    for i, (name, slot) in enumerate(slots.items()):
        window = _window(pools[kinds[name]], math.prod(slot.shape), kinds[name], 7919 * i)
        writer.write_tensor_data(ones if "norm" in name else window)
    writer.close()
    return path


def _add_shape(writer: gguf.GGUFWriter, config: ModelConfig, file_type: str) -> None:
    writer.add_name("random weights")
    writer.add_file_type(FILE_TYPES[file_type][0])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope.theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if config.moe is not None:
        writer.add_expert_count(config.moe.num_experts)
        writer.add_expert_used_count(config.moe.num_active)


def _add_vocabulary(writer: gguf.GGUFWriter, vocab_size: int) -> None:
    """Sentencepiece's three special tokens, the 256 bytes, and words w0, w1 ... up to ``vocab_size``."""
    special = [("<unk>", TokenType.UNKNOWN), ("<s>", TokenType.CONTROL), ("</s>", TokenType.CONTROL)]
    entries = special + [(f"<0x{byte:02X}>", TokenType.BYTE) for byte in range(256)]
    entries += [(f"w{i}", TokenType.NORMAL) for i in range(vocab_size - len(entries))]
    entries = entries[:vocab_size]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token for token, _ in entries])
    writer.add_token_scores([-float(i) for i in range(vocab_size)])
    writer.add_token_types([kind for _, kind in entries])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(True)


def _pool(kind: Kind, rng: np.random.Generator) -> Blocks:
    """Random blocks [blocks, bytes of one]."""
    _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    if kind in (Kind.F32, Kind.F16, Kind.BF16):
        values = rng.normal(0, DEVIATION, _POOL_BLOCKS).astype(np.float32)
        return gguf.quantize(values, kind).view(np.uint8).reshape(-1, block_bytes)
    blocks = rng.integers(0, 256, (_POOL_BLOCKS, block_bytes), dtype=np.uint8)
    _set_scale(blocks, kind, 1.0)
    _set_scale(blocks, kind, DEVIATION / float(gguf.dequantize(blocks[:4096], kind).std()))
    return blocks


def _set_scale(blocks: Blocks, kind: Kind, scale: float) -> None:
    at, numbers = _SCALES[kind]
    blocks[:, at : at + 2 * len(numbers)] = np.array([scale * each for each in numbers], np.float16).view(np.uint8)


def _window(pool: Blocks, num_values: int, kind: Kind, start: int) -> Blocks:
    """The bytes of ``num_values`` weights, from the pool's block ``start`` on and around."""
    count = num_values // gguf.GGML_QUANT_SIZES[kind][0]
    start %= len(pool)
    repeats = -(-(start + count) // len(pool))
    return np.tile(pool, (repeats, 1))[start : start + count].reshape(-1)


def main() -> None:
    """Write one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("path", type=Path)
    parser.add_argument("--type", choices=FILE_TYPES, default="Q4_0")
    options = parser.parse_args()
    write_random_gguf(options.path, SHAPES[options.shape].config, options.type)
    print(f"{options.path}: {options.path.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
