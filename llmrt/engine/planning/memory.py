"""How much fits: the context length and the number of KV blocks, from the memory at hand. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from llmrt.config import EngineConfig
from llmrt.engine.hardware.system_memory import available_memory
from llmrt.engine.kv.manager import peak_blocks
from llmrt.errors import ConfigError, MemoryFitError
from llmrt.model.checkpoints.weight_bytes import BYTES
from llmrt.model.config import ModelConfig

# The interpreter, torch, activations of one step, and what the allocator keeps.
WORKSPACE_BYTES = 500_000_000
# What kernels, matrix libraries and graphs keep on a GPU beside the tensors of a step.
LIBRARY_BYTES = 500_000_000
# Of a GPU's free memory; the rest is for what others on it, its screen among them, may still ask for.
DEFAULT_SHARE = 0.9
# A context below this serves nobody, so it is not reduced further in silence.
SMALLEST_CONTEXT = 512
KV_SCALE_BYTES = 4  # of a cache of bytes, for each token and head


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes for weights, KV blocks and ``workspace`` together, and ``where`` they are.

    ``kv_share`` of what weights, workspace and one context leave is for more requests beside it.
    """

    available: int
    workspace: int = WORKSPACE_BYTES
    kv_share: float = 0.5
    where: str = "memory"


@dataclass(frozen=True)
class MemoryPlan:
    """What was decided. ``notices`` say what is less than the model could do."""

    context_length: int
    num_blocks: int
    notices: tuple[str, ...] = ()


def kv_bytes_per_token(model: ModelConfig, kv_dtype: str) -> int:
    """What a token adds to the KV cache, over all layers."""
    scales = 2 * model.num_layers * model.num_kv_heads * KV_SCALE_BYTES if BYTES[kv_dtype] == 1 else 0
    return model.kv_values_per_token() * BYTES[kv_dtype] + scales


def step_bytes(model: ModelConfig, config: EngineConfig) -> int:
    """Bytes of the largest step's activations: one layer's at a time, and the logits, which are fp32 at the end."""
    moe = model.moe
    inner = 3 * max(model.intermediate_size, moe.num_active * moe.intermediate_size if moe else 0)
    per_token = 4 * model.hidden_size + 2 * (model.num_heads + model.num_kv_heads) * model.head_dim + inner
    activations = config.max_num_batched_tokens * per_token * BYTES[config.dtype]
    return activations + config.max_num_seqs * model.vocab_size * (BYTES[config.dtype] + 2 * BYTES["fp32"])


def budget_of(model: ModelConfig, config: EngineConfig, available: int) -> MemoryBudget:
    """How ``available`` bytes are used under a settled configuration."""
    if config.device == "cpu":
        return MemoryBudget(available)
    workspace = LIBRARY_BYTES + step_bytes(model, config)
    return MemoryBudget(available, workspace=workspace, kv_share=1.0, where="GPU memory")


def usable_memory(asked: float | None, gpu: tuple[int, int] | None) -> int:
    """Bytes for a model under --gpu-memory, a fraction of what is free or more than 1 gigabytes.

    ``gpu`` is a GPU's free and total bytes, None for the processor. Raises ``ConfigError`` or ``MemoryFitError``.
    """
    if gpu is None:
        if asked is not None:
            raise ConfigError(f"--gpu-memory is {asked:g}, but the model runs on the cpu; leave it out.")
        return available_memory()
    free, total = gpu
    if asked is None or asked <= 1:
        return int(free * (asked or DEFAULT_SHARE))
    if asked * 1e9 > free:
        raise MemoryFitError(f"--gpu-memory is {asked:g} GB; {_gb(free)} of the GPU's {_gb(total)} are free.")
    return int(asked * 1e9)


def plan_memory(model: ModelConfig, config: EngineConfig, *, weights: int, budget: MemoryBudget) -> MemoryPlan:
    """Fit ``weights`` bytes of them, KV cache and workspace into ``budget``, under a settled configuration.

    A context that was asked for is held or refused (``MemoryFitError``); the model's own is reduced, and that is said.
    The pool holds one full context at least.
    """
    wanted = _wanted_context(model, config)
    room = _room(model, config, weights, budget)
    context = _longest_context(wanted, room, model, config)
    if context < min(wanted, SMALLEST_CONTEXT) or (config.context_length is not None and context < wanted):
        raise MemoryFitError(_does_not_fit(model, config, weights, budget, context, wanted))
    one = _blocks(context, model, config)
    num_blocks = 1 + max(one, min(config.max_num_seqs * one, int(room * budget.kv_share)))
    reduced = (
        f"Context reduced from {wanted} to {context} tokens: {_gb(budget.available)} of {budget.where} are available."
        " A smaller --kv-dtype or --dtype leaves room for more."
    )
    return MemoryPlan(context, num_blocks, () if context == wanted else (reduced,))


def longest_context(model: ModelConfig, config: EngineConfig, *, weights: int, budget: MemoryBudget) -> int:
    """The longest context that fits, up to the model's; 0 where not even the weights do."""
    return _longest_context(model.max_context_length, _room(model, config, weights, budget), model, config)


def context_bytes(context: int, model: ModelConfig, config: EngineConfig) -> int:
    """Bytes of KV cache that one request of ``context`` tokens holds at most, under a settled configuration."""
    return _blocks(context, model, config) * _block_bytes(model, config)


def _wanted_context(model: ModelConfig, config: EngineConfig) -> int:
    if config.context_length is None:
        return model.context_length
    if not 1 < config.context_length <= model.max_context_length:
        raise ConfigError(f"--ctx is {config.context_length}; this model takes 2 to {model.max_context_length} tokens.")
    return config.context_length


def _room(model: ModelConfig, config: EngineConfig, weights: int, budget: MemoryBudget) -> int:
    """Blocks of KV cache beside weights and workspace, the null block not counted; negative where those do not fit."""
    return (budget.available - weights - budget.workspace) // _block_bytes(model, config) - 1


def _block_bytes(model: ModelConfig, config: EngineConfig) -> int:
    return config.block_size * kv_bytes_per_token(model, config.kv_dtype)


def _blocks(context: int, model: ModelConfig, config: EngineConfig) -> int:
    return peak_blocks(context, config.max_num_batched_tokens, config.block_size, model.cache_window)


def _longest_context(wanted: int, room: int, model: ModelConfig, config: EngineConfig) -> int:
    """The longest context up to ``wanted`` whose blocks fit into ``room``."""
    if _blocks(wanted, model, config) <= room:
        return wanted
    return min(wanted, max(0, room) * config.block_size)


def _does_not_fit(
    model: ModelConfig, config: EngineConfig, weights: int, budget: MemoryBudget, context: int, wanted: int
) -> str:
    needed = weights + budget.workspace + _block_bytes(model, config) * (_blocks(wanted, model, config) + 1)
    need = f"{_gb(needed)} are needed ({_gb(weights)} of weights, the rest for {wanted} tokens and workspace)"
    remedy = "Use a smaller model, --quant or --dtype"
    if context >= min(SMALLEST_CONTEXT, model.context_length):
        remedy = f"Use --ctx {context} or less, or a smaller --kv-dtype"
    return f"Not enough {budget.where}: {need}, {_gb(budget.available)} are available. {remedy}."


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
