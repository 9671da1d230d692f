"""The log-probabilities of a prompt's tokens, which are the same for all of its choices and computed for one."""

from __future__ import annotations

from collections import defaultdict

from msgspec.structs import replace

from llmrt.engine.request import TokenLogprob
from llmrt.server.choice import Delta


class SharedScores:
    """Puts what the first of a prompt's ``n`` choices has to the first delta of each other one."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._scores: dict[int, list[TokenLogprob]] = {}  # of each prompt
        self._early = defaultdict[int, list[Delta]](list)  # what came before them
        self._begun: set[int] = set()  # choices

    def share(self, delta: Delta) -> list[Delta]:
        """The deltas that can be given out now."""
        prompt = delta.index // self._n
        if delta.index % self._n == 0 and prompt not in self._scores:
            self._scores[prompt] = delta.prompt_logprobs
            return [delta, *map(self._with_scores, self._early.pop(prompt, ()))]
        if prompt not in self._scores:
            self._early[prompt].append(delta)
            return []
        return [self._with_scores(delta)]

    def _with_scores(self, delta: Delta) -> Delta:
        if delta.index % self._n == 0 or delta.index in self._begun:
            return delta
        self._begun.add(delta.index)
        return replace(delta, prompt_logprobs=self._scores[delta.index // self._n])
