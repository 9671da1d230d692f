"""A folder as the hub has them, of an alias's shape and of no meaning: sharded bf16 safetensors, a configuration and a
tokenizer. It is written once into build/peers, like the GGUF files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import tokenizers
from safetensors.torch import save_file
from tokenizers import decoders, models, pre_tokenizers
from torch import Tensor

from benchmarks.peers.client import ROOT
from llmrt.cli.progress import progress_bar
from llmrt.hub.layout import PUBLISHED
from llmrt.model.checkpoints.config_files import read_config
from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.presets import find_preset

SHARD_VALUES = 1_000_000_000


def random_folder(alias: str) -> Path:
    """The folder of an alias's shape, written if it is not there."""
    preset = find_preset(alias)
    assert preset is not None, alias
    folder = ROOT / f"build/peers/{alias}-random-bf16"
    if not folder.exists():
        unfinished = folder.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        with progress_bar(f"writing {folder.name}", "parameters") as bar:
            write_random_folder(unfinished, dict(preset.config), bar.advance, begin=bar.begin)
        unfinished.rename(folder)
    return folder


def write_random_folder(
    folder: Path,
    fields: dict[str, object],
    progress: Callable[[int], None] = lambda _: None,
    *,
    begin: Callable[[int], None] = lambda _: None,
    shard_values: int = SHARD_VALUES,
) -> Path:
    """Write a model whose config.json has ``fields``, in shards of ``shard_values`` numbers or one tensor more."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(fields))
    checkpoint = RandomCheckpoint(read_config(folder))
    begin(num_parameters(checkpoint.config))
    _byte_tokenizer(checkpoint.config.vocab_size).save(str(folder / "tokenizer.json"))
    weight_map: dict[str, str] = {}
    tensors = ((name, checkpoint.load(name)) for name in checkpoint.inventory)
    for i, shard in enumerate(_shards(tensors, shard_values), 1):
        file = f"model-{i:05}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
        progress(sum(tensor.numel() for tensor in shard.values()))
    (folder / PUBLISHED.index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def _shards(tensors: Iterable[tuple[str, Tensor]], values: int) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    for name, tensor in tensors:
        shard[name] = tensor.contiguous()
        if sum(each.numel() for each in shard.values()) >= values:
            yield shard
            shard = {}
    if shard:
        yield shard


def _byte_tokenizer(vocab_size: int) -> tokenizers.Tokenizer:
    """The 256 bytes, and words that no text makes."""
    entries = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(f"word {i}" for i in range(vocab_size))][:vocab_size]
    tokenizer = tokenizers.Tokenizer(models.BPE({entry: i for i, entry in enumerate(entries)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
