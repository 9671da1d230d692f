"""Tokens that a quantizer sends through the model, to see what its matrices are multiplied with. Free of torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """``sequences`` of token ids, all of one length; ``damping`` and ``rank`` are those of ``feedback_from``."""

    sequences: Sequence[Sequence[int]]
    damping: float
    rank: int

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return len(self.sequences[0])

    @property
    def identity(self) -> str:
        """A short name of the tokens and the settings: others have another."""
        tokens = [list(sequence) for sequence in self.sequences]
        described = json.dumps([tokens, self.damping, self.rank])
        return hashlib.sha256(described.encode()).hexdigest()[:12]
