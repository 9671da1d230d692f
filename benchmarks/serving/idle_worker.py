"""An engine process whose device computes nothing: ``python -m benchmarks.serving.idle_worker STEP_MS --fd N``.

It is the real worker with the real engine. Each step gives every request the same word, and takes ``STEP_MS``.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llmrt.engine.hardware.threads import importing_torch
from llmrt.engine.worker import main
from llmrt.text.load_tokenizer import load_tokenizer

with importing_torch():  # as the worker does
    from benchmarks.host_step import IdleDevice, idle_engine

if TYPE_CHECKING:
    from llmrt.config import EngineConfig
    from llmrt.engine.llm_engine import LLMEngine
    from llmrt.engine.runners.device import TellCompiling

TOKENS = 4096  # most of a request
WORD = " word"


@dataclass(frozen=True)
class Moment:
    """When the device will have come to an event."""

    at: float

    def wait(self) -> None:
        """Sleep until then; of no time at all the system would make a tenth of a millisecond."""
        if (seconds := self.at - time.perf_counter()) > 0:
            time.sleep(seconds)


class PacedDevice(IdleDevice):
    """Is busy for ``step_seconds`` with each step: the runner asks for one event a step."""

    def __init__(self, token_id: int, step_seconds: float) -> None:
        super().__init__(token_id)
        self._step_seconds = step_seconds
        self._free_at = 0.0

    def event(self) -> Moment:
        """See ``StepDevice``."""
        self._free_at = max(self._free_at, time.perf_counter()) + self._step_seconds
        return Moment(self._free_at)


def build(step_seconds: float, path: Path, config: EngineConfig, compiling: TellCompiling) -> LLMEngine:
    """The engine for the tokenizer of the model at ``path``."""
    del compiling
    tokenizer = load_tokenizer(path)
    word = tokenizer.encode(WORD, add_special_tokens=False)[-1]
    device = PacedDevice(word, step_seconds)
    return idle_engine(config.max_num_seqs, device, tokens=TOKENS, vocab_size=tokenizer.vocab_size)


if __name__ == "__main__":
    sys.exit(main(partial(build, float(sys.argv.pop(1)) / 1e3)))
