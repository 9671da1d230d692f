"""The options of the commands that run a model in their own process, declared once as dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmrt.cli.calibration import Calibrate, calibration_ids
from llmrt.cli.options import (
    DISK_CACHE,
    Adapter,
    Ctx,
    Device,
    DiskCache,
    DraftModel,
    Dtype,
    DtypeName,
    GpuMemory,
    KvDtype,
    KvDtypeName,
    Quant,
    QuantName,
    Revision,
    Speculate,
    SpeculateName,
    Threads,
)
from llmrt.cli.session import draft_path
from llmrt.config import EngineConfig
from llmrt.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How a model's weights and cache are held, and where it runs."""

    quant: Quant = QuantName.stored
    calibrate: Calibrate = None
    dtype: Dtype = DtypeName.auto
    kv_dtype: KvDtype = KvDtypeName.auto
    device: Device = "auto"
    gpu_memory: GpuMemory = None
    threads: Threads = None
    revision: Revision = None

    def config(self, **others: Any) -> EngineConfig:
        """The configuration of an engine with ``others`` of its fields."""
        return EngineConfig(
            quant=self.quant,
            dtype=self.dtype,
            kv_dtype=self.kv_dtype,
            device=self.device,
            gpu_memory=self.gpu_memory,
            threads=self.threads,
            **others,
        )


@dataclass(frozen=True, kw_only=True)
class SessionOptions(ModelOptions):
    """``ModelOptions``, and what else there is to choose for one conversation or text."""

    ctx: Ctx = None
    disk_cache: DiskCache = DISK_CACHE
    speculate: Speculate = SpeculateName.auto
    draft_model: DraftModel = None
    lora: Adapter = None

    def session_config(self, tokenizer: Tokenizer) -> EngineConfig:
        """The configuration of an engine for one request at a time. Raises ``LlmrtError``."""
        return self.config(
            calibration=calibration_ids(self.calibrate, self.quant, tokenizer),
            context_length=self.ctx,
            disk_cache=self.disk_cache,
            speculate=self.speculate,
            draft_model=draft_path(self.draft_model),
            adapters=() if self.lora is None else (("lora", str(self.lora)),),
            max_num_seqs=1,
        )
