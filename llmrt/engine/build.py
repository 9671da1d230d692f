"""From a model on disk to an engine that is ready to step."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from llmrt.config import EngineConfig
from llmrt.engine.calibration import calibration_for
from llmrt.engine.decode_tape import DecodeTapes
from llmrt.engine.kv.manager import KVCacheManager, blocks_for
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.memory import available_memory, plan_memory, weight_bytes
from llmrt.engine.model_runner import TorchModelRunner
from llmrt.engine.scheduler import Scheduler
from llmrt.engine.threads import usable_cores
from llmrt.errors import ConfigError
from llmrt.model.checkpoint import Checkpoint, open_checkpoint
from llmrt.model.config import ModelConfig
from llmrt.model.kv_cache import KVCache
from llmrt.model.load import Progress, load_decoder
from llmrt.model.tensor_slots import num_parameters
from llmrt.ops.native import NOT_BUILT, native_library
from llmrt.ops.paged_attention import PAGED_ATTENTION
from llmrt.ops.registry import resolve
from llmrt.ops.types import OpSpec
from llmrt.quant.recipe import RECIPES, Recipe

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
KV_DTYPES = {**DTYPES, "int8": torch.uint8}
SMALL_MODEL = 500_000_000


def build_engine(path: Path, config: EngineConfig, progress: Progress = lambda _: None) -> LLMEngine:
    """The engine for the model at ``path``. Raises ``LlmrtError`` for a checkpoint or a setting that cannot work."""
    return assemble_engine(open_checkpoint(path), config, progress)


def assemble_engine(checkpoint: Checkpoint, config: EngineConfig, progress: Progress = lambda _: None) -> LLMEngine:
    """Decide what fits, load the weights, and join scheduler and runner."""
    _check(config)
    device = torch.device("cpu")
    model = checkpoint.config
    recipe = _recipe(config.quant, model)
    dtype, kv_dtype = resolve_dtypes(model, config)
    notices = _set_threads(config.threads, native=recipe is not None)
    weights = weight_bytes(model, dtype, recipe)
    plan = plan_memory(model, config, weights=weights, kv_dtype=kv_dtype, available=available_memory())
    spec = OpSpec(device.type, DTYPES[dtype], group=recipe.group if recipe else 0, granule=model.granule)
    _check_kv_dtype(kv_dtype, spec)
    calibration = calibration_for(checkpoint, config.calibration) if recipe is not None else None
    decoder = load_decoder(checkpoint, plan.context_length, spec, progress, recipe, calibration)
    kv = KVCache.allocate(model, plan.num_blocks, config.block_size, KV_DTYPES[kv_dtype], device)
    scheduler = Scheduler(
        KVCacheManager(
            plan.num_blocks,
            config.block_size,
            sliding_window=model.sliding_window,
            prefix_caching=config.prefix_caching,
        ),
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=max(config.max_num_batched_tokens, config.max_num_seqs),
        context_length=plan.context_length,
    )
    max_blocks = blocks_for(plan.context_length, config.block_size)
    tapes = DecodeTapes(decoder, kv, max_blocks) if recipe is not None and native_library() is not None else None
    runner = TorchModelRunner(decoder, kv, config.block_size, device, tapes)
    return LLMEngine(scheduler, runner, [*notices, *plan.notices])


def resolve_dtypes(model: ModelConfig, config: EngineConfig) -> tuple[str, str]:
    """The types of what is not quantized and of the KV cache that an engine of this configuration has."""
    if config.quant == "none":
        dtype = _choose(config.dtype, "--dtype", _natural_dtype(model))
        return dtype, _choose(config.kv_dtype, "--kv-dtype", dtype, KV_DTYPES)
    if config.dtype not in ("auto", "fp32"):
        raise ConfigError(
            f"--dtype {config.dtype} does not go with --quant {config.quant}: activations are fp32 there."
        )
    return "fp32", _choose(config.kv_dtype, "--kv-dtype", "fp16", KV_DTYPES)


def _recipe(quant: str, model: ModelConfig) -> Recipe | None:
    if quant == "none":
        return None
    if model.moe is not None:
        raise ConfigError(f"--quant {quant} does not serve mixture-of-experts models such as this one; use none.")
    if quant not in RECIPES:
        raise ConfigError(f"--quant is {quant!r}; it must be one of none, {', '.join(RECIPES)}.")
    return RECIPES[quant]


def _set_threads(wanted: int | None, *, native: bool) -> list[str]:
    """Give the threads to torch or to the native kernels; returns what the person should know."""
    library = native_library() if native else None
    cores = usable_cores()
    threads = min(wanted or cores, cores)
    notices = [f"--threads {wanted} is more than the {cores} cores that are free for it; {threads} are used."]
    torch.set_num_threads(threads if library is None else 1)
    if library is not None:
        library.set_threads(threads)
    return [
        *(notices if wanted is not None and wanted > cores else []),
        *([f"{NOT_BUILT}; this will be slow."] if native and library is None else []),
    ]


def _check(config: EngineConfig) -> None:
    if config.device not in ("auto", "cpu"):
        raise ConfigError(f"--device is {config.device!r}; this version runs on the CPU alone, use cpu.")
    for flag, value in (("--threads", config.threads), ("--max-num-seqs", config.max_num_seqs)):
        if value is not None and value < 1:
            raise ConfigError(f"{flag} is {value}; it must be at least 1.")


def _choose(value: str, flag: str, natural: str, known: Iterable[str] = DTYPES) -> str:
    if value == "auto":
        return natural
    if value not in known:
        raise ConfigError(f"{flag} is {value!r}; it must be one of auto, {', '.join(known)}.")
    return value


def _check_kv_dtype(kv_dtype: str, spec: OpSpec) -> None:
    """An int8 cache has an order of bytes that the native kernels alone know."""
    native, reference = PAGED_ATTENTION.candidates
    if kv_dtype == "int8" and resolve(PAGED_ATTENTION, spec) is reference.fn:
        reason = native.supports(spec) or "LLMRT_KERNELS is reference"
        raise ConfigError(f"--kv-dtype int8 needs the native kernels, and {reason}. Use fp16, or --quant int4 or int8.")


def _natural_dtype(model: ModelConfig) -> str:
    """fp32 for small models, for there it costs little and keeps logits exact; bf16 where the processor multiplies it.

    Emulated bf16 is several times slower than fp32, so a processor without it runs fp32 at any size.
    """
    small = num_parameters(model) < SMALL_MODEL
    native_bf16 = torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]
    return "fp32" if model.dtype == "fp32" or small or not native_bf16 else "bf16"
