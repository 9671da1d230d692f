"""A name for all that keys and values depend on but the tokens: what was computed in another way has another name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch

import llmrt.model
import llmrt.ops
import llmrt.quant
import llmrt_kernels
from llmrt.config import EngineConfig
from llmrt.engine.loading.load_model import Model
from llmrt.engine.planning.settle import recipe_of
from llmrt.model.checkpoints.source_identity import source_identity, weight_files
from llmrt.model.kv_cache import KVCache
from llmrt.model.loading.packed_file import PackedCheckpoint
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.catalogue import choices
from llmrt.ops.rules import native_library

_CODE = (llmrt.model, llmrt.quant, llmrt.ops, llmrt_kernels)


def fingerprint(model: Model, config: EngineConfig, decoder: Decoder, kv: KVCache) -> bytes:
    """16 bytes for the model's files, how its weights are quantized, the cache's form, and what computes it, where.

    ``model`` is one that lies on a disk. Raises ``CheckpointError`` for a file that cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (*_of_model(model, config, decoder), *_of_cache(config, kv), *_of_code(config, decoder)):
        digest.update(f"{len(part)} ".encode() + part)
    return digest.digest()


def _of_model(model: Model, config: EngineConfig, decoder: Decoder) -> Iterator[bytes]:
    assert model.path is not None
    for path in (model.path, model.file) if isinstance(model, PackedCheckpoint) else (model.path,):
        yield source_identity(path).encode()
        for file in weight_files(path):  # the identity has samples, beside which a few tensors may be changed in place
            yield str(file.stat().st_mtime_ns).encode()
    yield repr((config.quant, recipe_of(config), config.calibration, decoder.spec.dtype)).encode()
    for layer in range(decoder.config.num_layers):
        angles = decoder.rotations.of(layer)[1]  # some models have others for a longer context
        yield angles.numpy(force=True).tobytes()


def _of_cache(config: EngineConfig, kv: KVCache) -> Iterator[bytes]:
    yield repr((config.block_size, [(tensor.dtype, tensor.shape[1:]) for tensor in kv.tensors])).encode()


def _of_code(config: EngineConfig, decoder: Decoder) -> Iterator[bytes]:
    yield repr((torch.__version__, choices(decoder.spec))).encode()
    if config.device != "cpu":
        yield torch.cuda.get_device_name(config.device).encode()
    elif (library := native_library()) is not None:
        yield library.isa.encode() + library.path.read_bytes()
    for folder in (Path(path) for package in _CODE for path in package.__path__):
        for file in sorted(folder.rglob("*.py")):
            yield file.name.encode() + file.read_bytes()
