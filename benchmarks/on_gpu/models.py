"""Models of random weights that are drawn on the device, as engines.

The last one is held until another is asked for: most of what is measured takes less time than to be there.
"""

from __future__ import annotations

import gc
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import torch

from llmrt.config import EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading.build import assemble_engine
from llmrt.engine.runners.device import CudaDevice
from llmrt.engine.runners.gpu_runner import GpuRunner
from llmrt.engine.runners.graphs import DecodeGraphs
from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint
from llmrt.model.config import ModelConfig, MoeConfig, RopeConfig

MISTRAL = ModelConfig(
    family="mistral",
    vocab_size=32000,
    hidden_size=4096,
    num_layers=32,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    intermediate_size=14336,
    norm_eps=1e-5,
    context_length=32768,
    rope=RopeConfig(theta=1e6),
)
MIXTRAL = replace(MISTRAL, family="mixtral", moe=MoeConfig(8, 2, MISTRAL.intermediate_size))
DEVICE = "cuda"
CHUNK = 2048
STREAMS = (1, 8, 64)

_held: dict[Hashable, LLMEngine] = {}


def engine_of(shape: ModelConfig, quant: str, **settings: Any) -> LLMEngine:
    """An idle engine on the device, the one that is held if it is of that kind."""
    key = (shape, quant, *settings.items())
    if key not in _held:
        release()
        torch.manual_seed(0)
        config = EngineConfig(
            device=DEVICE,
            quant=quant,
            max_num_seqs=max(STREAMS),
            max_num_batched_tokens=CHUNK,
            prefix_caching=False,
            **settings,
        )
        _held[key] = assemble_engine(RandomCheckpoint(shape), config)
        torch.cuda.synchronize()
    return _held[key]


def release() -> None:
    """Give back the memory of the one that is held: the next may fill the device's."""
    _held.clear()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def runner_of(engine: LLMEngine) -> GpuRunner:
    """What computes its steps."""
    runner = engine._runner
    assert isinstance(runner, GpuRunner)
    return runner


def record_anew(engine: LLMEngine, *, graphs: bool = True) -> None:
    """Forget the graphs that were recorded. Without ``graphs`` decode steps are launched kernel by kernel."""
    runner = runner_of(engine)
    device = runner._device if graphs else CudaDevice(graphs=False)
    runner._graphs = DecodeGraphs(runner._decoder, runner._kv, device, runner._inputs, runner._sampler)
