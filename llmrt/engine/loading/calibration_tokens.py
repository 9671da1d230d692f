"""Which tokens a quantizer is calibrated with."""

from __future__ import annotations

import random
from collections.abc import Sequence

from llmrt.errors import ConfigError
from llmrt.model.checkpoints.checkpoint import Checkpoint
from llmrt.model.config import ModelConfig
from llmrt.quant.calibration import Calibration

# Random tokens say which directions a model's activations take at all, but not which a text takes: hence the damping.
RANDOM_SEQUENCES, RANDOM_LENGTH, RANDOM_DAMPING, RANDOM_RANK = 4, 32, 1.0, 16
TEXT_SEQUENCES, TEXT_LENGTH, TEXT_DAMPING, TEXT_RANK = 8, 64, 0.3, 64


def calibration_for(checkpoint: Checkpoint, token_ids: Sequence[int] | None) -> Calibration:
    """``token_ids`` of a text in sequences, or random ones without a text.

    Raises ``ConfigError`` for a text that is too short.
    """
    if token_ids is None:
        return random_tokens(checkpoint.config)
    return text_tokens(checkpoint.config, token_ids)


def random_tokens(config: ModelConfig, seed: int = 0) -> Calibration:
    """Sequences of ids drawn uniformly from the vocabulary."""
    draw = random.Random(seed)
    length = min(RANDOM_LENGTH, config.context_length)
    sequences = [[draw.randrange(config.vocab_size) for _ in range(length)] for _ in range(RANDOM_SEQUENCES)]
    return Calibration(sequences, RANDOM_DAMPING, RANDOM_RANK)


def text_tokens(config: ModelConfig, token_ids: Sequence[int]) -> Calibration:
    """Sequences from all over a text."""
    length = min(TEXT_LENGTH, config.context_length)
    count = min(TEXT_SEQUENCES, len(token_ids) // length)
    if count == 0:
        raise ConfigError(f"--calibrate has {len(token_ids)} tokens; it takes a text of {length} at least.")
    step = len(token_ids) // count
    return Calibration([token_ids[i * step :][:length] for i in range(count)], TEXT_DAMPING, TEXT_RANK)
