"""From a model on disk to a decoder: what to load, as what, and from where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from llmrt.config import EngineConfig
from llmrt.engine.auto_quant import choose_quant
from llmrt.engine.memory import weight_bytes
from llmrt.engine.placement import choose_device, memory_budget
from llmrt.engine.threads import usable_cores
from llmrt.errors import ConfigError
from llmrt.model.checkpoint import Checkpoint, open_checkpoint
from llmrt.model.config import ModelConfig
from llmrt.model.decoder import Decoder
from llmrt.model.load import Progress, load_decoder
from llmrt.model.load_blocks import block_bytes
from llmrt.model.packed_file import PackedCheckpoint
from llmrt.model.packed_header import packed_file
from llmrt.model.random_checkpoint import RandomCheckpoint
from llmrt.model.random_decoder import random_decoder
from llmrt.model.tensor_slots import num_parameters
from llmrt.ops.native import native_library, native_refusal
from llmrt.ops.paged_attention import PAGED_ATTENTION
from llmrt.ops.registry import choose, forced_backend
from llmrt.ops.types import OpSpec
from llmrt.quant.recipe import RECIPES, Recipe

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
KV_DTYPES = (*DTYPES, "int8")
SMALL_MODEL = 500_000_000

Model = Checkpoint | PackedCheckpoint


@dataclass(frozen=True)
class LoadedModel:
    """A decoder and what the person should know of how it was loaded."""

    decoder: Decoder
    notices: list[str]


def open_model(path: Path) -> Model:
    """The model at ``path``, whose weights may be packed already. Raises ``CheckpointError``."""
    packed = packed_file(path)
    return open_checkpoint(path) if packed is None else PackedCheckpoint(path, packed)


def settle(model: Model, config: EngineConfig) -> tuple[EngineConfig, list[str]]:
    """``config`` with device, quant, dtype and kv_dtype as they will be used, and what is to be said about that.

    Raises ``ConfigError`` for a setting that cannot work.
    """
    device, notices = choose_device(config.device)
    config = replace(config, device=device)
    if isinstance(model, PackedCheckpoint):
        config = replace(config, quant=_quant_of_packed(model, config))
    elif config.quant == "auto":
        quant, reason = choose_quant(model.config, memory_budget(config, model.config).available)
        config, notices = replace(config, quant=quant), [*notices, reason]
    _check_quant(config.quant)
    dtype, kv_dtype = _resolve_dtypes(model.config, config)
    return replace(config, dtype=dtype, kv_dtype=kv_dtype), notices


def loaded_bytes(model: Model, config: EngineConfig) -> int:
    """Bytes of the weights in memory under a settled configuration."""
    if isinstance(model, PackedCheckpoint):
        return model.num_bytes
    spec = _spec(model.config, config.dtype, config)
    if spec.in_blocks:
        return block_bytes(model, spec.dtype)
    return weight_bytes(model.config, config.dtype, recipe_of(config))


def kv_torch_dtype(model: ModelConfig, config: EngineConfig) -> torch.dtype:
    """What the KV cache of a settled ``config`` is made of; see ``LayerKVCache`` for int8."""
    if config.kv_dtype != "int8":
        return DTYPES[config.kv_dtype]
    backend = choose(PAGED_ATTENTION, _spec(model, config.dtype, config)).backend
    return torch.uint8 if backend == "cpu" else torch.int8


def load_model(
    model: Model, config: EngineConfig, context_length: int, progress: Progress = lambda _: None, *, keep: bool = True
) -> LoadedModel:
    """Load the weights as the settled ``config`` says, keeping them for the next start if they had to be quantized.

    Raises ``LlmrtError``.
    """
    recipe, spec = recipe_of(config), _spec(model.config, config.dtype, config)
    notices = set_threads(config.threads, spec)
    refusal = _int8_refusal(spec, config.block_size)
    if config.kv_dtype == "int8" and refusal is not None:
        raise ConfigError(f"--kv-dtype int8 is not to be had: {refusal}. Use fp16.")
    if isinstance(model, PackedCheckpoint):
        decoder = model.decoder(context_length, spec)
    elif isinstance(model, RandomCheckpoint) and config.device != "cpu":
        decoder = random_decoder(model, context_length, spec, progress, recipe)
    elif recipe is None or model.path is None:
        decoder = load_decoder(model, context_length, spec, progress, recipe)
    else:
        from llmrt.engine.packed_cache import quantized_decoder  # and with it the store of models

        decoder, more = quantized_decoder(model, recipe, config.calibration, context_length, spec, progress, keep=keep)
        notices += more
    return LoadedModel(decoder, notices)


def set_threads(wanted: int | None, spec: OpSpec) -> list[str]:
    """Give the threads to torch or to the native kernels; returns what the person should know."""
    cores, refusal = usable_cores(), _refusal(spec)
    quantizes_for_gpu = spec.device != "cpu" and spec.group > 0
    library = native_library() if refusal is None or quantizes_for_gpu else None
    threads = min(wanted or cores, cores)
    torch.set_num_threads(threads if library is None else 1)
    if library is not None:
        library.set_threads(threads)
    notices: list[str] = []
    if wanted is not None and wanted > cores:
        notices.append(f"--threads {wanted} is more than the {cores} cores that are free for it; {threads} are used.")
    if refusal is not None and spec.device == "cpu" and forced_backend() is None:
        notices.append(f"torch computes this model, for {refusal}; that is slower than the native kernels.")
    return notices


def recipe_of(config: EngineConfig) -> Recipe | None:
    """How a settled configuration quantizes, None for not at all."""
    return None if config.quant == "none" else RECIPES[config.quant]


def _quant_of_packed(model: PackedCheckpoint, config: EngineConfig) -> str:
    held, asked = model.header.quant, config.quant
    if config.calibration is not None:
        raise ConfigError(f"{model.path} is packed and rounded already; leave --calibrate out.")
    if asked not in ("none", "auto", held):
        raise ConfigError(f"--quant is {asked}, but {model.path} is packed as {held} already; leave --quant out.")
    return held


def _check_quant(quant: str) -> None:
    if quant != "none" and quant not in RECIPES:
        raise ConfigError(f"--quant is {quant!r}; it must be one of none, {', '.join(RECIPES)}.")


def _resolve_dtypes(model: ModelConfig, config: EngineConfig) -> tuple[str, str]:
    if config.quant == "none":
        dtype = _choose(config.dtype, "--dtype", _natural_dtype(model, config.device))
        return dtype, _choose(config.kv_dtype, "--kv-dtype", dtype, KV_DTYPES)
    if config.device == "cpu" and config.dtype not in ("auto", "fp32"):
        raise ConfigError(
            f"--dtype {config.dtype} does not go with --quant {config.quant} on the cpu: activations are fp32 there."
        )
    dtype, half = ("fp32", "fp16") if config.device == "cpu" else (_choose(config.dtype, "--dtype", "bf16"), "bf16")
    int8_serves = config.quant == "int4" and _int8_refusal(_spec(model, dtype, config), config.block_size) is None
    return dtype, _choose(config.kv_dtype, "--kv-dtype", "int8" if int8_serves else half, KV_DTYPES)


def _spec(model: ModelConfig, dtype: str, config: EngineConfig) -> OpSpec:
    """Weights that are not quantized go in blocks where the native kernels serve the model."""
    recipe = recipe_of(config)
    spec = OpSpec(config.device, DTYPES[dtype], group=recipe.group if recipe else 0, granule=model.granule)
    return spec if recipe or _refusal(spec) else replace(spec, in_blocks=True)


def _refusal(spec: OpSpec) -> str | None:
    """Why the native kernels would not serve the model, were its weights packed."""
    return native_refusal(spec if spec.packed else replace(spec, in_blocks=True))


def _choose(value: str, flag: str, natural: str, known: Iterable[str] = DTYPES) -> str:
    if value == "auto":
        return natural
    if value not in known:
        raise ConfigError(f"{flag} is {value!r}; it must be one of auto, {', '.join(known)}.")
    return value


def _int8_refusal(spec: OpSpec, block_size: int) -> str | None:
    """Why there can be no int8 cache, which the reference does not serve."""
    chosen = choose(PAGED_ATTENTION, spec)
    if chosen.backend != "reference":
        return f"its blocks hold {block_size} tokens, no multiple of 16" if block_size % 16 else None
    reasons = [candidate.supports(spec) for candidate in PAGED_ATTENTION.candidates if candidate is not chosen]
    return next(filter(None, reversed(reasons)), "LLMRT_KERNELS is reference")


def _natural_dtype(model: ModelConfig, device: str) -> str:
    """bf16 on a GPU. Else fp32 for small models, for there it costs little and keeps logits exact.

    Emulated bf16 is several times slower than fp32, so a processor without it runs fp32 at any size.
    """
    if device != "cpu":
        return "bf16"
    small = num_parameters(model) < SMALL_MODEL
    native_bf16 = torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]
    return "fp32" if model.dtype == "fp32" or small or not native_bf16 else "bf16"
