"""From a model on disk to an engine that is ready to step."""

from __future__ import annotations

from pathlib import Path

import torch

from llmrt.config import EngineConfig
from llmrt.engine.decode_tape import DecodeTapes
from llmrt.engine.kv.manager import KVCacheManager, blocks_for
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.load_model import KV_DTYPES, Model, load_model, loaded_bytes, open_model, settle
from llmrt.engine.memory import available_memory, plan_memory
from llmrt.engine.model_runner import TorchModelRunner
from llmrt.engine.scheduler import Scheduler
from llmrt.errors import ConfigError
from llmrt.model.kv_cache import KVCache
from llmrt.model.load import Progress
from llmrt.ops.native import native_library


def build_engine(path: Path, config: EngineConfig, progress: Progress = lambda _: None) -> LLMEngine:
    """The engine for the model at ``path``. Raises ``LlmrtError`` for a checkpoint or a setting that cannot work."""
    return assemble_engine(open_model(path), config, progress)


def assemble_engine(model: Model, config: EngineConfig, progress: Progress = lambda _: None) -> LLMEngine:
    """Decide what fits, load the weights, and join scheduler and runner."""
    _check(config)
    device = torch.device("cpu")
    shape = model.config
    config, notices = settle(model, config)
    plan = plan_memory(
        shape, config, weights=loaded_bytes(model, config), kv_dtype=config.kv_dtype, available=available_memory()
    )
    loaded = load_model(model, config, plan.context_length, progress)
    decoder = loaded.decoder
    kv = KVCache.allocate(shape, plan.num_blocks, config.block_size, KV_DTYPES[config.kv_dtype], device)
    scheduler = Scheduler(
        KVCacheManager(
            plan.num_blocks,
            config.block_size,
            sliding_window=shape.sliding_window,
            prefix_caching=config.prefix_caching,
        ),
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=max(config.max_num_batched_tokens, config.max_num_seqs),
        context_length=plan.context_length,
    )
    max_blocks = blocks_for(plan.context_length, config.block_size)
    quantized_natively = config.quant != "none" and native_library() is not None
    tapes = DecodeTapes(decoder, kv, max_blocks, config.block_size) if quantized_natively else None
    runner = TorchModelRunner(decoder, kv, config.block_size, device, tapes)
    return LLMEngine(scheduler, runner, [*notices, *loaded.notices, *plan.notices], config)


def _check(config: EngineConfig) -> None:
    if config.device not in ("auto", "cpu"):
        raise ConfigError(f"--device is {config.device!r}; this version runs on the CPU alone, use cpu.")
    for flag, value in (("--threads", config.threads), ("--max-num-seqs", config.max_num_seqs)):
        if value is not None and value < 1:
            raise ConfigError(f"{flag} is {value}; it must be at least 1.")
