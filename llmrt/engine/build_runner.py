"""What computes the steps of a decoder: on the processor, or on a device that the host does not wait for."""

from __future__ import annotations

import torch

from llmrt.config import EngineConfig
from llmrt.engine.decode_tape import DecodeTapes
from llmrt.engine.device import StepDevice
from llmrt.engine.gpu_runner import GpuRunner
from llmrt.engine.model_runner import TorchModelRunner
from llmrt.model.decoder import Decoder
from llmrt.model.kv_cache import KVCache
from llmrt.ops.paged_attention import PAGED_ATTENTION
from llmrt.ops.registry import choose


def make_runner(
    decoder: Decoder, kv: KVCache, config: EngineConfig, max_blocks: int, late: StepDevice | None
) -> TorchModelRunner | GpuRunner:
    """``max_blocks`` is the widest block table; ``late`` a device that computes on its own, if it is one."""
    block_size, max_num_seqs = config.block_size, config.max_num_seqs
    if late is not None:
        return GpuRunner(decoder, kv, late, block_size=block_size, max_num_seqs=max_num_seqs, max_blocks=max_blocks)
    tapes = DecodeTapes(decoder, kv, max_blocks, block_size) if is_native(decoder) else None
    return TorchModelRunner(decoder, kv, block_size, torch.device("cpu"), tapes)


def is_native(decoder: Decoder) -> bool:
    """Whether the native kernels of a processor serve it."""
    return choose(PAGED_ATTENTION, decoder.spec).backend == "cpu"
