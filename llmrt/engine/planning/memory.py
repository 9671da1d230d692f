"""How much fits: the context length and the number of KV blocks, from the memory at hand. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from llmrt.config import EngineConfig
from llmrt.engine.hardware.system_memory import available_memory
from llmrt.engine.kv.manager import peak_blocks
from llmrt.errors import ConfigError, MemoryFitError
from llmrt.model.checkpoints.weight_bytes import BYTES
from llmrt.model.config import ModelConfig
from llmrt_kernels.cpu.structs import CHUNK_KEYS, MOST_CHUNKS
from llmrt_kernels.expansion import EXPANDED_FROM, STRIP_BYTES

# On the processor, of an engine and its server, beside what follows from the model: pages of libraries (109 MB), what
# threads and allocators keep, the grammars of eight requests. 160 MB were measured with a model of 135M.
PROCESS_BYTES = 180_000_000
# Of each token of a vocabulary: 870 in a tokenizer, which engine and server have, and 260 in the trie of a grammar.
VOCABULARY_BYTES = 2_000
# What an engine has imported before it counts what is left.
IMPORTED_BYTES = 150_000_000
# Of a recorded decode step on the processor, which keeps what all layers compute; more where a step without drafts is.
TAPE_BYTES = 64_000_000
# Beside those of a head, in each chunk of keys that native attention computes apart.
CHUNK_VALUES = 17
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
    workspace: int
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
    """Bytes of the largest step's activations: one layer's at a time, and the logits, which are fp32 at the end.

    With a strip of a packed weight where steps have so many tokens that one is expanded, which is on GPUs.
    """
    activations = config.step_tokens * _layer_values(model) * BYTES[config.dtype]
    expands = config.device != "cpu" and config.quant != "none" and config.step_tokens >= min(EXPANDED_FROM.values())
    strip = STRIP_BYTES if expands else 0
    return activations + strip + config.max_num_seqs * model.vocab_size * (BYTES[config.dtype] + 2 * BYTES["fp32"])


def tape_bytes(model: ModelConfig, config: EngineConfig) -> int:
    """Bytes that all recorded decode steps of a processor compute in; none on a GPU, whose graphs share theirs."""
    return taped_rows(model, config.max_num_seqs) * row_bytes(model) if config.device == "cpu" else 0


def taped_rows(model: ModelConfig, max_num_seqs: int) -> int:
    """Rows of the largest decode step that a processor records: as many as fit in ``TAPE_BYTES``, and one of each
    request at least.
    """
    return max(max_num_seqs, TAPE_BYTES // row_bytes(model))


def row_bytes(model: ModelConfig) -> int:
    """Bytes that a row of a recorded step takes: activations of all layers with the chunks of attention, and logits."""
    chunks = min(MOST_CHUNKS, -(-model.max_context_length // CHUNK_KEYS)) + 1
    attention = model.num_heads * chunks * (model.head_dim + CHUNK_VALUES)
    return (model.num_layers * (_layer_values(model) + attention) + model.vocab_size) * BYTES["fp32"]


def _layer_values(model: ModelConfig) -> int:
    """Activations of a token in one layer."""
    moe, hidden = model.moe, model.hidden_size
    experts = moe.num_active * (3 * moe.intermediate_size + 2 * hidden) + 4 * moe.shared_size if moe else 0
    inner = max(3 * model.intermediate_size, experts)
    return 5 * hidden + 2 * (model.num_heads + model.num_kv_heads) * model.head_dim + inner


def budget_of(model: ModelConfig, config: EngineConfig, available: int) -> MemoryBudget:
    """How ``available`` bytes are used under a settled configuration."""
    step = step_bytes(model, config)
    if config.device == "cpu":
        fixed = PROCESS_BYTES + VOCABULARY_BYTES * model.vocab_size
        return MemoryBudget(available, fixed + step + tape_bytes(model, config))
    return MemoryBudget(available, LIBRARY_BYTES + step, kv_share=1.0, where="GPU memory")


def usable_memory(asked: float | None, gpu: tuple[int, int] | None, *, to_import: int = 0) -> int:
    """Bytes for a model under --gpu-memory, a fraction of what is free or more than 1 gigabytes.

    ``gpu`` is a GPU's free and total bytes, None for the processor, where ``to_import`` bytes are for libraries that
    this process has not imported and an engine has. Raises ``ConfigError`` or ``MemoryFitError``.
    """
    if gpu is None:
        if asked is not None:
            raise ConfigError(f"--gpu-memory is {asked:g}, but the model runs on the cpu; leave it out.")
        return max(0, available_memory() - to_import)
    free, total = gpu
    if asked is None or asked <= 1:
        return int(free * (asked or DEFAULT_SHARE))
    if asked * 1e9 > free:
        raise MemoryFitError(f"--gpu-memory is {asked:g} GB; {_gb(free)} of the GPU's {_gb(total)} are free.")
    return int(asked * 1e9)


@dataclass(frozen=True)
class MemoryPlanner:
    """Fits ``weights`` bytes of them, the KV cache and the workspace into ``budget``, under a settled ``config``."""

    model: ModelConfig
    config: EngineConfig
    weights: int
    budget: MemoryBudget

    def plan(self) -> MemoryPlan:
        """A context that was asked for is held or refused (``MemoryFitError``); the model's own is reduced, and that is
        said. The pool holds one full context at least.
        """
        wanted, asked, budget = self._wanted_context(), self.config.context_length, self.budget
        context = self._fitting(wanted)
        if context < min(wanted, SMALLEST_CONTEXT) or (asked is not None and context < wanted):
            raise MemoryFitError(self._refusal(context, wanted))
        one = self._blocks(context)
        num_blocks = 1 + max(one, min(self.config.max_num_seqs * one, int(self._room * budget.kv_share)))
        reduced = (
            f"Context reduced from {wanted} to {context} tokens: {_gb(budget.available)} of {budget.where} are"
            " available. A smaller --kv-dtype or --dtype leaves room for more."
        )
        return MemoryPlan(context, num_blocks, () if context == wanted else (reduced,))

    def longest_context(self) -> int:
        """The longest context that fits, up to the model's; 0 where not even the weights do."""
        return self._fitting(self.model.max_context_length)

    def context_bytes(self, context: int) -> int:
        """Bytes of KV cache that one request of ``context`` tokens holds at most."""
        return self._blocks(context) * self._block_bytes

    def _wanted_context(self) -> int:
        asked, most = self.config.context_length, self.model.max_context_length
        if asked is None:
            return self.model.context_length
        if not 1 < asked <= most:
            raise ConfigError(f"--ctx is {asked}; this model takes 2 to {most} tokens.")
        return asked

    def _fitting(self, wanted: int) -> int:
        """The longest context up to ``wanted`` whose blocks there is room for."""
        if self._blocks(wanted) <= self._room:
            return wanted
        return min(wanted, max(0, self._room) * self.config.block_size)

    @property
    def _room(self) -> int:
        """Blocks beside weights and workspace, the null block not counted; negative where those do not fit."""
        return (self.budget.available - self.weights - self.budget.workspace) // self._block_bytes - 1

    @property
    def _block_bytes(self) -> int:
        return self.config.block_size * kv_bytes_per_token(self.model, self.config.kv_dtype)

    def _blocks(self, context: int) -> int:
        return peak_blocks(context, self.config.step_tokens, self.config.block_size, self.model.cache_window)

    def _refusal(self, context: int, wanted: int) -> str:
        budget = self.budget
        needed = self.weights + budget.workspace + self._block_bytes * (self._blocks(wanted) + 1)
        need = f"{_gb(needed)} are needed ({_gb(self.weights)} of weights, the rest for {wanted} tokens and workspace)"
        remedy = "Use a smaller model, --quant or --dtype, or lower --max-num-seqs"
        if context >= min(SMALLEST_CONTEXT, self.model.context_length):
            remedy = f"Use --ctx {context} or less, or a smaller --kv-dtype"
        return f"Not enough {budget.where}: {need}, {_gb(budget.available)} are available. {remedy}."


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
