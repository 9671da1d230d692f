"""From a model on disk to an engine that is ready to step."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from llmrt.config import EngineConfig
from llmrt.engine.adapters import Adapters
from llmrt.engine.hardware.system_memory import allocation
from llmrt.engine.kv.block_pool import NULL_BLOCK
from llmrt.engine.kv.commit_ahead import CommitAhead, Stripe
from llmrt.engine.kv.disk_cache import DiskCache
from llmrt.engine.kv.manager import KVCacheManager
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading.adapter_weights import AdapterWeights
from llmrt.engine.loading.build_disk_cache import open_disk_cache
from llmrt.engine.loading.build_runner import allocate_kv, attention_backend, is_native, make_runner
from llmrt.engine.loading.build_speculation import GUESSES, make_speculation, plan_draft
from llmrt.engine.loading.load_model import Model, load_model, open_model, settle
from llmrt.engine.planning.memory import MemoryPlan, MemoryPlanner, budget_of
from llmrt.engine.planning.placement import free_memory, unused_memory
from llmrt.engine.planning.settle import loaded_bytes
from llmrt.engine.runners.device import CudaDevice, StepDevice, TellCompiling
from llmrt.engine.runners.runner import AsyncRunner, ModelRunner
from llmrt.engine.sampling.grammars import Grammars
from llmrt.engine.scheduler import Scheduler
from llmrt.errors import ConfigError
from llmrt.model.adapters.peft_adapter import PeftAdapter
from llmrt.model.kv_cache import KVCache
from llmrt.model.loading.load import Progress
from llmrt.model.modules.decoder import Decoder
from llmrt.text.generation_defaults import unusable_values
from llmrt.text.load_tokenizer import load_tokenizer


def build_engine(path: Path, config: EngineConfig, compiling: TellCompiling = lambda _: None) -> LLMEngine:
    """The engine for the model at ``path``. Raises ``LlmrtError`` for a checkpoint or a setting that cannot work.

    ``compiling`` is called while it is built, and for adapters that come later.
    """
    return assemble_engine(open_model(path), config, compiling=compiling)


@allocation()
def assemble_engine(
    model: Model, config: EngineConfig, progress: Progress = lambda _: None, compiling: TellCompiling = lambda _: None
) -> LLMEngine:
    """Decide what fits, load the weights, and join scheduler and runner."""
    _check(config)
    asked, (config, notices) = config, settle(model, config)
    draft = plan_draft(model, asked, free_memory(config))
    plan = _plan(model, config, draft.num_bytes if draft else 0)
    loaded = load_model(model, config, plan.context_length, progress)
    decoder = loaded.decoder
    device, kv = _step_device(config, decoder, compiling), allocate_kv(decoder, config, plan.num_blocks)
    notices = [*notices, *loaded.notices, *plan.notices, *([] if model.path is None else unusable_values(model.path))]
    disk = open_disk_cache(model, config, decoder, kv, device, notices.append)
    scheduler = _scheduler(decoder, kv, config, plan, disk)
    runner = make_runner(decoder, kv, config, plan.context_length, device)
    adapters = _adapters(decoder, runner, config)
    grammars = None if model.path is None else Grammars(partial(load_tokenizer, model.path), model.config.vocab_size)
    speculation = make_speculation(decoder, config, draft, progress, device)
    return LLMEngine(scheduler, runner, notices, config, grammars, adapters, speculation)


def _plan(model: Model, config: EngineConfig, draft_bytes: int) -> MemoryPlan:
    budget = budget_of(model.config, config, free_memory(config) - draft_bytes)
    weights = loaded_bytes(model, config) + _adapter_bytes(config)
    return MemoryPlanner(model.config, config, weights, budget).plan()


def _scheduler(
    decoder: Decoder, kv: KVCache, config: EngineConfig, plan: MemoryPlan, disk: DiskCache | None
) -> Scheduler:
    manager = KVCacheManager(
        plan.num_blocks,
        config.block_size,
        sliding_window=decoder.config.cache_window,
        prefix_caching=config.prefix_caching,
        disk=disk,
        memory=_commit_ahead(kv, plan.num_blocks) if is_native(decoder) else None,
    )
    return Scheduler(
        manager,
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=max(config.step_tokens, config.max_num_seqs),
        context_length=plan.context_length,
    )


def _commit_ahead(kv: KVCache, num_blocks: int) -> CommitAhead:
    """For keys and values whose pages are neighbours."""
    stripes = {t.untyped_storage().data_ptr(): t.stride(0) * t.itemsize for t in kv.tensors}
    memory = CommitAhead([Stripe(address, size) for address, size in stripes.items()], num_blocks)
    memory.take(NULL_BLOCK)  # for the first prompt
    return memory


def _step_device(config: EngineConfig, decoder: Decoder, compiling: TellCompiling) -> StepDevice | None:
    """What computes while the host goes on; None for the processor."""
    if config.device == "cpu":
        return None
    # The reference implementations ask the device for numbers, which a graph cannot.
    graphs = config.graphs and attention_backend(decoder) != "reference"
    return CudaDevice(graphs=graphs, compiling=compiling)


def _adapters(decoder: Decoder, runner: ModelRunner | AsyncRunner, config: EngineConfig) -> Adapters:
    adapters = Adapters(AdapterWeights(decoder, runner.forget_adapters, partial(unused_memory, config.device)))
    for name, folder in config.adapters:
        adapters.load(name, Path(folder))
    return adapters


def _adapter_bytes(config: EngineConfig) -> int:
    """Bytes of the files; what is wrong with their headers is said before the weights are loaded."""
    return sum(PeftAdapter(Path(folder)).num_bytes for _, folder in config.adapters)


def _check(config: EngineConfig) -> None:
    for flag in ("--threads", "--max-num-seqs", "--max-num-batched-tokens", "--block-size"):
        value = getattr(config, flag.removeprefix("--").replace("-", "_"))
        if value is not None and value < 1:
            raise ConfigError(f"{flag} is {value}; it must be at least 1.")
    if config.speculate not in GUESSES:
        raise ConfigError(f"--speculate is {config.speculate!r}; it must be one of {', '.join(GUESSES)}.")
