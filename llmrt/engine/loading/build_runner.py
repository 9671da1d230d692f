"""What computes the steps of a decoder: pages, and a runner on the processor or on a GPU."""

from __future__ import annotations

import torch

from llmrt.config import EngineConfig
from llmrt.engine.kv.manager import blocks_for
from llmrt.engine.planning.memory import taped_rows
from llmrt.engine.runners.cpu_runner import CpuRunner
from llmrt.engine.runners.decode_tape import DecodeTapes
from llmrt.engine.runners.device import StepDevice
from llmrt.engine.runners.gpu_runner import GpuRunner
from llmrt.model.kv_cache import KVCache
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.registry import choose
from llmrt.ops.table import PAGED_ATTENTION
from llmrt.ops.types import DTYPES


def make_runner(
    decoder: Decoder, kv: KVCache, config: EngineConfig, context_length: int, device: StepDevice | None
) -> CpuRunner | GpuRunner:
    """For requests of up to ``context_length`` tokens, on ``device``; None is the processor."""
    block_size, max_num_seqs = config.block_size, config.max_num_seqs
    max_blocks = blocks_for(context_length, block_size)
    if device is not None:
        return GpuRunner(
            decoder,
            kv,
            device,
            block_size=block_size,
            max_num_seqs=max_num_seqs,
            max_blocks=max_blocks,
            compiles=attention_backend(decoder) != "reference",
        )
    if not is_native(decoder):
        return CpuRunner(decoder, kv, block_size)
    tapes = DecodeTapes(decoder, kv, max_blocks, block_size, taped_rows(decoder.config, max_num_seqs))
    return CpuRunner(decoder, kv, block_size, tapes)


def allocate_kv(decoder: Decoder, config: EngineConfig, num_blocks: int) -> KVCache:
    """The pages of a settled ``config``, in the type and the order that the decoder's kernels take."""
    native = is_native(decoder)
    bytes_of = {"int8": torch.uint8 if native else torch.int8, "fp8": torch.float8_e4m3fn}
    dtype = bytes_of.get(config.kv_dtype) or DTYPES[config.kv_dtype]
    device = torch.device(config.device)
    return KVCache.allocate(decoder.config, num_blocks, config.block_size, dtype, device, paired=native)


def attention_backend(decoder: Decoder) -> str:
    """Whose kernels serve it: "cpu" are the native ones of a processor, "triton" those of a GPU."""
    return choose(PAGED_ATTENTION, decoder.spec).backend


def is_native(decoder: Decoder) -> bool:
    """Whether the native kernels of a processor serve it."""
    return attention_backend(decoder) == "cpu"
