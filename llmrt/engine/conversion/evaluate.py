"""What quantizing costs: the same text through a model in full precision and through it quantized.

Both are loaded and read each window of the text side by side, a few rows of logits at a time, so that memory does not
grow with the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from llmrt.config import EngineConfig
from llmrt.engine.conversion.stored_bits import StoredBits, stored_bits
from llmrt.engine.hardware.system_memory import available_memory
from llmrt.engine.loading.build_runner import allocate_kv
from llmrt.engine.loading.load_model import Model, load_model, set_threads, settle
from llmrt.engine.planning.memory import budget_of, step_bytes
from llmrt.engine.planning.settle import loaded_bytes
from llmrt.errors import ConfigError, MemoryFitError
from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.loading.load import Progress

BLOCK_SIZE = 64
# Rows of logits that are compared at once: 64 MB for a vocabulary of 128 thousand, and a few of those beside it.
CHUNK = 128


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """``num_predictions`` tokens were predicted, in windows of ``window``; all means are over them.

    ``kl_mean`` and ``kl_p99`` are of KL(full precision || quantized) in nats; ``top1_agreement`` is the share of tokens
    where both find the same one likeliest.
    """

    quant: str
    kv_dtype: str
    full_dtype: str
    window: int
    num_predictions: int
    perplexity: float
    full_perplexity: float
    kl_mean: float
    kl_p99: float
    top1_agreement: float
    bits: StoredBits


def evaluate(
    full: Model,
    quantized: Model,
    config: EngineConfig,
    windows: Sequence[Sequence[int]],
    progress: Progress = lambda _: None,
) -> Evaluation:
    """Compare ``quantized`` under ``config`` with ``full``, whose type is ``config.dtype``; ``progress`` counts tokens.

    In each of the ``windows`` every token but the first is predicted from those before it.
    Raises ``MemoryFitError`` if both do not fit, and ``LlmrtError`` for a checkpoint or a setting that cannot work.
    """
    length = max(map(len, windows))
    config = replace(config, device="cpu")
    plain, _ = settle(full, replace(config, quant="none", calibration=None, kv_dtype="auto"))
    config, _ = settle(quantized, replace(config, dtype="auto"))
    _check_fit(loaded_bytes(full, plain), loaded_bytes(quantized, config), _workspace(full, plain, config))
    reference, other = _Scorer(full, plain, length), _Scorer(quantized, config, length)
    with torch.inference_mode():
        tallies = [rows for window in windows for rows in _compare(window, reference, other, progress)]
    full_nll, nll, kl, same = (torch.cat(parts).double() for parts in zip(*tallies, strict=True))
    return Evaluation(
        quant=config.quant,
        kv_dtype=config.kv_dtype,
        full_dtype=plain.dtype,
        window=length,
        num_predictions=len(kl),
        perplexity=math.exp(nll.mean().item()),
        full_perplexity=math.exp(full_nll.mean().item()),
        kl_mean=kl.mean().item(),
        kl_p99=kl.sort().values[math.ceil(0.99 * len(kl)) - 1].item(),
        top1_agreement=same.mean().item(),
        bits=stored_bits(other.decoder),
    )


def windows_of(token_ids: Sequence[int], size: int, prefix: Sequence[int]) -> list[list[int]]:
    """The text in windows of ``size`` tokens that do not overlap, each with ``prefix`` at its start.

    Raises ``ConfigError`` if there is nothing to predict.
    """
    step = size - len(prefix)
    cut = [[*prefix, *token_ids[start : start + step]] for start in range(0, len(token_ids), step)]
    windows = [window for window in cut if len(window) > 1]
    if not windows:
        raise ConfigError("--text holds less than two tokens; name a file with more text.")
    return windows


class _Scorer:
    """A model, and a KV cache for one window."""

    def __init__(self, model: Model, config: EngineConfig, length: int) -> None:
        self.decoder = load_model(model, config, length).decoder
        self._config = config
        num_blocks = 1 + -(-length // BLOCK_SIZE)  # block 0 is the null block
        self._kv = allocate_kv(self.decoder, replace(config, block_size=BLOCK_SIZE), num_blocks)
        self._blocks = torch.arange(1, num_blocks).unsqueeze(0)

    def log_probs(self, token_ids: Sequence[int], start: int) -> Tensor:
        """[T, V] fp32 after each of the tokens, which stand at ``start`` and on; those before were given earlier."""
        set_threads(self._config.threads, self.decoder.spec)  # torch's or the kernels', which take turns
        end = start + len(token_ids)
        positions = torch.arange(start, end)
        batch = ForwardBatch(
            input_ids=torch.tensor(token_ids),
            positions=positions,
            slot_mapping=positions + BLOCK_SIZE,
            cu_seqlens_q=torch.tensor([0, len(token_ids)]),
            seq_lens=torch.tensor([end]),
            block_table=self._blocks[:, : -(-end // BLOCK_SIZE)],
            max_query_len=len(token_ids),
            logits_index=None,
        )
        return self.decoder(batch, self._kv).float().log_softmax(1)


def _compare(
    window: Sequence[int], reference: _Scorer, other: _Scorer, progress: Progress
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Of each predicted token: both negative log-likelihoods, the divergence, whether the likeliest tokens agree."""
    for start in range(0, len(window), CHUNK):
        chunk, targets = window[start : start + CHUNK], window[start + 1 : start + CHUNK + 1]
        p, q = (scorer.log_probs(chunk, start)[: len(targets)] for scorer in (reference, other))
        index = torch.tensor(targets, dtype=torch.int64).unsqueeze(1)
        kl = (p.exp() * (p - q)).sum(1).clamp(min=0)
        yield -p.gather(1, index)[:, 0], -q.gather(1, index)[:, 0], kl, p.argmax(1) == q.argmax(1)
        progress(len(chunk))


def _workspace(model: Model, *configs: EngineConfig) -> int:
    """Bytes for a chunk in each of two decoders, and for its logits."""
    chunks = (replace(config, max_num_seqs=CHUNK, max_num_batched_tokens=CHUNK) for config in configs)
    steps = sum(step_bytes(model.config, chunk) for chunk in chunks)
    return budget_of(model.config, replace(configs[0], max_num_seqs=1), available=0).workspace + steps


def _check_fit(full: int, quantized: int, workspace: int) -> None:
    available = available_memory()
    if full + quantized + workspace > available:
        raise MemoryFitError(
            f"Not enough memory to compare: {full / 1e9:.1f} GB in full precision, {quantized / 1e9:.1f} GB quantized"
            f" and {workspace / 1e9:.1f} GB of workspace are needed, {available / 1e9:.1f} GB are available."
            " Use --dtype bf16, a smaller model or a larger machine."
        )
