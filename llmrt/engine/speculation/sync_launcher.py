"""A runner that waits for its steps, as one that launches them. Free of torch."""

from __future__ import annotations

from llmrt.engine.runners.runner import KnownResults, ModelRunner
from llmrt.engine.scheduler import SchedulerOutput, all_decode


class SyncLauncher:
    """See ``StepLauncher``: a step has landed when it is launched."""

    def __init__(self, runner: ModelRunner) -> None:
        self.vocab_size = runner.vocab_size
        self._runner = runner

    def warm_up(self, max_tokens: int) -> None:
        """See ``StepLauncher``."""
        self._runner.warm_up(max_tokens)

    def launch(self, scheduled: SchedulerOutput) -> KnownResults:
        """See ``StepLauncher``."""
        if all_decode(scheduled):
            return KnownResults(self._runner.execute(scheduled))
        prefill = self._runner.begin(scheduled)
        while not prefill.advance():
            pass
        return KnownResults(prefill.results())
