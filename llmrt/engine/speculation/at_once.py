"""A runner that waits for its steps as one that sends them off. Free of torch."""

from __future__ import annotations

from llmrt.engine.runners.runner import KnownResults, ModelRunner
from llmrt.engine.scheduler import SchedulerOutput


class AtOnce:
    """See ``StepSender``: a step has landed when it is sent off."""

    def __init__(self, runner: ModelRunner) -> None:
        self.vocab_size = runner.vocab_size
        self._runner = runner

    def launch(self, scheduled: SchedulerOutput) -> KnownResults:
        """See ``StepSender``."""
        if all(request.is_decoding for request in scheduled):
            return KnownResults(self._runner.execute(scheduled))
        prefill = self._runner.begin(scheduled)
        while not prefill.advance():
            pass
        return KnownResults(prefill.results())
