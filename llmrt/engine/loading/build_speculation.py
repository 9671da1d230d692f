"""What guesses tokens for a model: prompt lookup, or a second model on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from llmrt.config import STORED, EngineConfig
from llmrt.engine.kv.manager import KVCacheManager
from llmrt.engine.loading.build_runner import allocate_kv, attention_backend, is_native, make_runner
from llmrt.engine.loading.load_model import Model, load_model, open_model, settle
from llmrt.engine.planning.memory import (
    MemoryPlan,
    MemoryPlanner,
    budget_of,
    kv_bytes_per_token,
    step_bytes,
    tape_bytes,
)
from llmrt.engine.planning.settle import loaded_bytes
from llmrt.engine.runners.cpu_runner import CpuRunner
from llmrt.engine.runners.device import StepDevice
from llmrt.engine.speculation.draft_model import DraftModel
from llmrt.engine.speculation.ngram import PromptLookup
from llmrt.engine.speculation.speculation import Speculation
from llmrt.engine.speculation.sync_launcher import SyncLauncher
from llmrt.errors import ConfigError, RequestError
from llmrt.model.loading.load import Progress
from llmrt.model.loading.packed_file import PackedCheckpoint
from llmrt.model.modules.decoder import Decoder
from llmrt.text.load_tokenizer import load_tokenizer

GUESSES = ("auto", "ngram", "off")
_KV_SHARE = 0.1  # of what its weights leave, beyond one full context


@dataclass(frozen=True)
class PlannedDraft:
    """A draft model that is not loaded yet, and the ``num_bytes`` that it will take."""

    model: Model
    config: EngineConfig
    plan: MemoryPlan
    num_bytes: int

    def load(self, progress: Progress, device: StepDevice | None) -> DraftModel:
        """On ``device``; None is the processor. Raises ``LlmrtError``."""
        config, plan = self.config, self.plan
        decoder = load_model(self.model, config, plan.context_length, progress).decoder
        backend = attention_backend(decoder)
        if device is None and backend != "cpu":
            raise ConfigError(f"--draft-model {self.model.path} is none that the native kernels of a processor serve.")
        if config.device != "cpu" and backend == "reference":
            raise ConfigError(f"--draft-model {self.model.path} is none that the kernels of a GPU serve.")
        pages = allocate_kv(decoder, config, plan.num_blocks)
        runner = make_runner(decoder, pages, config, plan.context_length, device)
        launcher = SyncLauncher(runner) if isinstance(runner, CpuRunner) else runner
        kv = KVCacheManager(plan.num_blocks, config.block_size, sliding_window=decoder.config.cache_window)
        return DraftModel(launcher, kv, chunk=config.step_tokens, context_length=plan.context_length)


def make_speculation(
    decoder: Decoder, config: EngineConfig, draft: PlannedDraft | None, progress: Progress, device: StepDevice | None
) -> Speculation | None:
    """None where there is to be none. Raises ``ConfigError`` where guesses are asked for and cannot be verified.

    On a ``device`` there are some only when they are asked for: several rows are rounded in another way there than one,
    so that an answer may depend on how long steps took. None is the processor.
    """
    if config.speculate == "off" or (config.speculate == "auto" and not draft and not is_native(decoder)):
        return None
    if device is None and not is_native(decoder):
        option = "--draft-model" if draft else f"--speculate {config.speculate}"
        raise ConfigError(f"{option} is for models that the native kernels of a processor serve; leave it out.")
    return Speculation(PromptLookup() if draft is None else draft.load(progress, device))


def plan_draft(target: Model, config: EngineConfig, available: int) -> PlannedDraft | None:
    """What ``config.draft_model`` needs of ``available`` bytes, with the settings of the model that it guesses for.

    None if there is none. Weights that are packed already stay as they are. Raises ``LlmrtError`` for a model that
    cannot guess for ``target``.
    """
    if config.draft_model is None:
        return None
    if config.speculate != "auto":
        raise ConfigError(f"--draft-model does not go with --speculate {config.speculate}; leave one of them out.")
    model = open_model(Path(config.draft_model))
    _check_vocabulary(target, model)
    context = min(model.config.context_length, config.context_length or target.config.context_length)
    asked = replace(config, calibration=None, context_length=context, adapters=())
    if isinstance(model, PackedCheckpoint):
        asked = replace(asked, quant=STORED, dtype="auto")
    own, _ = settle(model, asked)
    weights, budget = loaded_bytes(model, own), replace(budget_of(model.config, own, available), kv_share=_KV_SHARE)
    plan = MemoryPlanner(model.config, own, weights, budget).plan()
    kv_bytes = plan.num_blocks * own.block_size * kv_bytes_per_token(model.config, own.kv_dtype)
    activations = step_bytes(model.config, own) + tape_bytes(model.config, own)
    return PlannedDraft(model, own, plan, weights + kv_bytes + activations)


def _check_vocabulary(target: Model, draft: Model) -> None:
    if target.path is None or draft.path is None:
        raise ConfigError("--draft-model is for models with a vocabulary.")
    ours, theirs = _tokens(target.path), _tokens(draft.path)
    if ours != theirs or draft.config.vocab_size > target.config.vocab_size:
        raise ConfigError(f"--draft-model {draft.path} has other tokens than {target.path}; it must have the same.")


def _tokens(path: Path) -> list[str | None]:
    tokenizer = load_tokenizer(path)

    def spelled(token_id: int) -> str | None:
        try:
            return tokenizer.token_text(token_id)
        except RequestError:
            return None  # an id that no token has

    return [spelled(token_id) for token_id in range(tokenizer.vocab_size)]
