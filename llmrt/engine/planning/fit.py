"""Whether a model fits and how fast it can be at most, from its headers. Free of torch.

The bytes are those that the engine plans with. A decoded token reads the weights and the cache once, a prompt's token
meets every active weight but the head's; no run beats what that takes at the device's limits. Decoding reaches
three quarters of them (small models in int4) to nearly all (16 and 32 bits), prompts a third to two thirds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from llmrt.config import EngineConfig
from llmrt.engine.hardware.gpus import Gpu, visible_gpus
from llmrt.engine.hardware.limits import Limits, gpu_limits, processor_limits
from llmrt.engine.planning.device import SeenGpu, choose_gpu
from llmrt.engine.planning.memory import (
    IMPORTED_BYTES,
    MemoryPlan,
    MemoryPlanner,
    budget_of,
    kv_bytes_per_token,
    usable_memory,
)
from llmrt.engine.planning.settle import bytes_of_a_token, case_of, loaded_bytes, settle_on
from llmrt.errors import MemoryFitError
from llmrt.model.checkpoints.headers import Headers, PackedHeaders
from llmrt.model.checkpoints.tensor_slots import num_active_parameters
from llmrt.model.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Tokens a second at the limits, of one request: decoding with an empty and with a full context."""

    limits: Limits
    decode: float
    decode_at_context: float
    prefill: float | None


@dataclass(frozen=True, kw_only=True)
class Fit:
    """``refusal`` is why the model does not fit, None if it does; ``notices`` what the engine would say.

    ``context_length`` is what it would run with, or what was asked for, and ``kv_bytes`` what one request of it takes;
    ``cache_bytes`` has the whole pool, for ``max_num_seqs`` requests or as many as fit.
    """

    device: str
    quant: str
    dtype: str
    kv_dtype: str
    context_length: int
    longest_context: int
    weight_bytes: int
    kv_bytes: int
    kv_bytes_per_token: int
    workspace_bytes: int
    needed_bytes: int
    cache_bytes: int
    available_bytes: int
    where: str
    fits: bool
    refusal: str | None
    notices: tuple[str, ...]
    forecast: Forecast | None


def fit(model: Headers | PackedHeaders, config: EngineConfig) -> Fit:
    """Settle ``config`` as the engine would, and count. Raises ``ConfigError`` for a setting that cannot work."""
    gpu, said = _choose_gpu(config.device)
    config = replace(config, device="cpu" if gpu is None else "cuda")
    config, more = settle_on(model, config, partial(_free, gpu, config), gpu and gpu.arch)
    shape, weights = model.config, loaded_bytes(model, config)
    budget = budget_of(shape, config, _free(gpu, config))
    planner = MemoryPlanner(shape, config, weights, budget)
    plan, refusal = _plan(planner)
    kv_bytes = planner.context_bytes(plan.context_length)
    token_bytes = kv_bytes_per_token(shape, config.kv_dtype)
    return Fit(
        device=config.device,
        quant=config.quant,
        dtype=config.dtype,
        kv_dtype=config.kv_dtype,
        context_length=plan.context_length,
        longest_context=planner.longest_context(),
        weight_bytes=weights,
        kv_bytes=kv_bytes,
        kv_bytes_per_token=token_bytes,
        workspace_bytes=budget.workspace,
        needed_bytes=weights + kv_bytes + budget.workspace,
        cache_bytes=plan.num_blocks * config.block_size * token_bytes,
        available_bytes=budget.available,
        where=budget.where,
        fits=refusal is None,
        refusal=refusal,
        notices=(*said, *more, *plan.notices),
        forecast=_forecast(model, config, plan.context_length, gpu),
    )


def _plan(planner: MemoryPlanner) -> tuple[MemoryPlan, str | None]:
    """The engine's plan; where it would refuse, one without blocks for the context that was asked for, and why."""
    try:
        return planner.plan(), None
    except MemoryFitError as error:
        context = planner.config.context_length or planner.model.context_length
        return MemoryPlan(context, num_blocks=0), str(error)


def _choose_gpu(asked: str) -> tuple[Gpu | None, list[str]]:
    """The GPU that ``--device`` stands for, None for the processor, and what is to be said about it."""
    gpus = [] if asked == "cpu" else visible_gpus()
    index, notices = choose_gpu(asked, [SeenGpu(gpu.name, gpu.refusal) for gpu in gpus], seen_by="the driver")
    return None if index is None else gpus[index], notices


def _free(gpu: Gpu | None, config: EngineConfig) -> int:
    seen = None if gpu is None else (gpu.free_bytes, gpu.total_bytes)
    return usable_memory(config.gpu_memory, seen, to_import=IMPORTED_BYTES)


def _forecast(model: Headers | PackedHeaders, config: EngineConfig, context: int, gpu: Gpu | None) -> Forecast | None:
    shape, case = model.config, case_of(model, config)
    limits = gpu_limits(gpu) if gpu else processor_limits("int8" if case.group else case.dtype) if case.packed else None
    if limits is None:
        return None
    weights, seen = bytes_of_a_token(model, config), min(context, shape.sliding_window or context)
    rate, at_context = limits.read_bytes_per_second, weights + seen * kv_bytes_per_token(shape, config.kv_dtype)
    peak = limits.operations_per_second
    prefill = peak / _operations_of_a_prompt_token(shape) if peak else None
    return Forecast(limits=limits, decode=rate / weights, decode_at_context=rate / at_context, prefill=prefill)


def _operations_of_a_prompt_token(shape: ModelConfig) -> int:
    """Two for each weight that it meets, the head's left out; attention is not counted."""
    return 2 * (num_active_parameters(shape) - shape.vocab_size * shape.hidden_size)
