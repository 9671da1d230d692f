"""From a model on disk to a decoder: what to load, as what, and from where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from llmrt.config import EngineConfig
from llmrt.engine.hardware.threads import usable_cores
from llmrt.engine.planning.placement import arch_of, choose_device, free_memory
from llmrt.engine.planning.settle import case_of, recipe_of, settle_on
from llmrt.errors import ConfigError
from llmrt.model.checkpoints.checkpoint import Checkpoint, open_checkpoint
from llmrt.model.checkpoints.headers import Headers, PackedHeaders
from llmrt.model.checkpoints.packed_header import packed_file
from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from llmrt.model.loading.load import Progress, load_decoder
from llmrt.model.loading.packed_file import PackedCheckpoint
from llmrt.model.loading.random_decoder import random_decoder
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.rules import byte_cache_refusal, forced_backend, native_library, native_refusal, triton_refusal
from llmrt.ops.types import DTYPES, OpSpec

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


def settle(model: Headers | PackedHeaders, config: EngineConfig) -> tuple[EngineConfig, list[str]]:
    """``config`` with device, quant, dtype and kv_dtype as they will be used, and what is to be said about that.

    Raises ``ConfigError`` for a setting that cannot work.
    """
    device, notices = choose_device(config.device)
    config = replace(config, device=device)
    settled, more = settle_on(model, config, lambda: free_memory(config), arch_of(device))
    return settled, [*notices, *more]


def load_model(
    model: Model, config: EngineConfig, context_length: int, progress: Progress = lambda _: None, *, keep: bool = True
) -> LoadedModel:
    """Load the weights as the settled ``config`` says, keeping them for the next start if they had to be quantized.

    Raises ``LlmrtError``.
    """
    recipe, spec = recipe_of(config), _spec(model, config)
    notices = [*set_threads(config.threads, spec), *_tuned(spec)]
    refusal = byte_cache_refusal(spec.case, config.kv_dtype, config.block_size)
    if config.kv_dtype in ("int8", "fp8") and refusal is not None:
        raise ConfigError(f"--kv-dtype {config.kv_dtype} is not to be had: {refusal}. Use fp16.")
    if isinstance(model, PackedCheckpoint):
        decoder = model.decoder(context_length, spec)
    elif isinstance(model, RandomCheckpoint) and config.device != "cpu":
        decoder = random_decoder(model, context_length, spec, progress, recipe)
    elif recipe is None or model.path is None:
        decoder = load_decoder(model, context_length, spec, progress, recipe)
    else:
        from llmrt.engine.loading.packed_cache import quantized_decoder  # and with it the store of models

        decoder, more = quantized_decoder(model, recipe, config.calibration, context_length, spec, progress, keep=keep)
        notices += more
    return LoadedModel(decoder, notices)


def _tuned(spec: OpSpec) -> list[str]:
    """Use what `llmrt tune` measured, if Triton's kernels run; returns what the person should know."""
    if spec.device != "cuda" or triton_refusal(spec.case) is not None:
        return []
    if not all(map(find_spec, ("msgspec", "platformdirs"))):  # on a machine that only measures a GPU
        return []
    from llmrt.engine.loading.tuned_kernels import use_tuned  # and with it Triton

    return use_tuned()


def set_threads(wanted: int | None, spec: OpSpec) -> list[str]:
    """Give the threads to torch or to the native kernels; returns what the person should know."""
    cores, refusal = usable_cores(), native_refusal(spec.case)
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


def _spec(model: Model, config: EngineConfig) -> OpSpec:
    case = case_of(model, config)
    return OpSpec(case.device, DTYPES[case.dtype], case.group, case.granule, case.in_blocks)
