"""An engine process whose answers are known: the real worker around an engine that echoes.

The answer to a chat is its last user message, that to a text is the text. One that begins with "@" is an
order, see ``ScriptedEngine._answer``.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import re
import signal
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from llmrt.config import EngineConfig
from llmrt.engine.request import RequestOutput, SamplingParams, TokenLogprob
from llmrt.engine.stats import EngineStats
from llmrt.engine.worker import main
from llmrt.errors import CheckpointError, MemoryFitError, RequestError
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llmrt.engine.runners.device import TellCompiling

CONTEXT_LENGTH = 512
_FAILED, _REFUSED = -1, -2  # in the place of tokens
_LAST_USER = re.compile(r".*<\|im_start\|>user\n(.*?)<\|im_end\|>", re.DOTALL)


@dataclass
class Running:
    params: SamplingParams
    tokens: Iterator[int | None]  # None: a step without a token
    room: int
    num_cached: int
    sizes: random.Random
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    given: list[int] = field(default_factory=list)


class ScriptedEngine:
    def __init__(self, tokenizer: Tokenizer, context_length: int | None, adapters: Sequence[str] = ()) -> None:
        self._adapters = [*adapters]
        self.context_length = context_length or CONTEXT_LENGTH
        self.vocab_size = tokenizer.vocab_size
        self.embedding_size = 3
        self.notices = ["the engine is scripted"]
        self._tokenizer = tokenizer
        self._running: dict[str, Running] = {}
        self._texts: dict[str, RequestOutput] = {}
        self._aborted: list[str] = []
        self._seen: set[tuple[int, ...]] = set()
        self._num_releases = 0

    @property
    def has_work(self) -> bool:
        return bool(self._running or self._texts)

    @property
    def stats(self) -> EngineStats:
        return EngineStats(len(self._running), len(self._texts), len(self._running) / 8, 3, 20, 10, 8, 4)

    def add(
        self, request_id: str, token_ids: Sequence[int], params: SamplingParams, adapter: str | None = None
    ) -> None:
        params.validate(self.vocab_size)
        self._check_adapter(adapter)
        prompt = self._tokenizer.decode(token_ids, skip_special_tokens=False)
        user = _LAST_USER.match(prompt)
        text = user[1] if user else prompt
        if text.startswith("@reject"):
            raise RequestError("the engine refuses this")
        if text.startswith("@adapter"):
            text = f"{adapter} of {','.join(self._adapters)}"
        cached = len(token_ids) - 1 if tuple(token_ids) in self._seen else 0
        self._seen.add(tuple(token_ids))
        room = self.context_length - len(token_ids)
        tokens = self._answer(text, token_ids, params)
        sizes = random.Random(f"{params.seed} {text}")
        of_prompt = self._logprobs(token_ids[1:], params.prompt_logprobs) or ()
        self._running[request_id] = Running(params, tokens, room, cached, sizes, of_prompt)

    def load_adapter(self, name: str, folder: Path) -> None:
        if "broken" in str(folder) or (folder / "broken").exists():
            raise CheckpointError(f"{folder} is no LoRA adapter")
        self._adapters.append(name)

    def unload_adapter(self, name: str) -> None:
        self._check_adapter(name)
        self._adapters.remove(name)

    def _check_adapter(self, name: str | None) -> None:
        if name is not None and name not in self._adapters:
            raise RequestError(f"{name} is not loaded")

    def embed(self, request_id: str, token_ids: Sequence[int], pooling: str, adapter: str | None = None) -> None:
        """Its vector has the text's length, its sum or last token, and 1."""
        self._check_adapter(adapter)
        text = self._tokenizer.decode(token_ids)
        if text.startswith("@reject"):
            raise RequestError("the engine refuses this")
        vector = struct.pack("<3f", len(token_ids), sum(token_ids) if pooling == "mean" else token_ids[-1], 1)
        self._texts[request_id] = RequestOutput(request_id, (), "stop", embedding=vector)
        if text.startswith("@fail"):
            self._texts[request_id] = RequestOutput(request_id, (), "error", error="the engine failed midway")

    def abort(self, request_id: str) -> None:
        if self._running.pop(request_id, None):
            self._aborted.append(request_id)

    def step(self) -> list[RequestOutput]:
        time.sleep(0.0005)
        outputs = [self._advance(request_id, running) for request_id, running in [*self._running.items()]]
        for output in outputs:
            if output and output.finish_reason:
                del self._running[output.request_id]
        return [output for output in outputs if output] + self._embedded()

    def _embedded(self) -> list[RequestOutput]:
        texts, self._texts = self._texts, {}
        return [*reversed(texts.values())]

    def _advance(self, request_id: str, running: Running) -> RequestOutput | None:
        new: list[int] = []
        reason = "length" if running.params.max_tokens == 0 else None
        while reason is None and len(new) < running.sizes.randint(1, 3):
            token_id = next(running.tokens)
            if token_id is None:
                break
            if token_id == _REFUSED:
                return RequestOutput(request_id, (), "error", error="no token is left", refused=True)
            if token_id == _FAILED:
                return RequestOutput(request_id, (), "error", error="the engine failed midway")
            new.append(token_id)
            running.given.append(token_id)
            reason = self._finish_reason(token_id, running)
        if not new and reason is None:
            return None
        cached = running.num_cached
        logprobs = self._logprobs(new, running.params.logprobs)
        of_prompt, running.prompt_logprobs = running.prompt_logprobs, ()
        return RequestOutput(
            request_id, tuple(new), reason, logprobs, of_prompt, cached, cached // 2, None if cached else 0
        )

    def _finish_reason(self, token_id: int, running: Running) -> str | None:
        if token_id in running.params.stop_token_ids:
            return "stop"
        asked = running.params.max_tokens
        limit = running.room if asked is None else min(running.room, asked)
        return "length" if len(running.given) >= limit else None

    def _logprobs(self, token_ids: Sequence[int], count: int | None) -> tuple[TokenLogprob, ...] | None:
        if count is None:
            return None
        return tuple(
            TokenLogprob(
                token_id,
                -0.25,
                1,
                tuple(((token_id + i) % self.vocab_size, -0.25 - i if i < 2 else float("-inf")) for i in range(count)),
            )
            for token_id in token_ids
        )

    def _answer(self, text: str, prompt: Sequence[int], params: SamplingParams) -> Iterator[int | None]:
        order, _, rest = text.partition(" ")
        spam = itertools.cycle(self._tokenizer.encode("spam "))
        match order:
            case "@fill":  # what there is room for
                return spam
            case "@forever":  # which no test sees the end of, however slowly it reads
                return itertools.chain(itertools.islice(spam, 40), _slowly(spam))
            case "@hang":
                return itertools.repeat(None)
            case "@spin":  # in a step that never ends
                return itertools.chain(itertools.islice(spam, 5), _spin())
            case "@die":  # of a signal
                return itertools.chain(itertools.islice(spam, 5), _die(rest or "SIGKILL"))
            case "@fail":
                return itertools.chain(itertools.islice(spam, 5), [_FAILED])
            case "@contradict":  # what the request asks for, after some tokens
                return itertools.chain(itertools.islice(spam, 5), [_REFUSED])
            case "@pause":  # seconds and the answer after them
                seconds, _, answer = rest.partition(" ")
                return itertools.chain(_silence(float(seconds)), self._say(answer))
            case "@held":  # the answer once another request says @release
                return itertools.chain(self._until_released(), self._say(rest))
            case "@release":
                self._num_releases += 1
                return self._say("released")
            case "@bytes":  # in hexadecimal, a token each
                return itertools.chain(bytes.fromhex(rest), self._end())
            case "@special":  # with the names of special tokens read as such
                return itertools.chain(self._tokenizer.encode(rest, add_special_tokens=False), self._end())
            case "@params":
                return self._say(msgspec.json.encode(params).decode())
            case "@grammar":
                return self._say(params.grammar or "")
            case "@prompt":  # what the template made of the messages
                return self._say(self._tokenizer.decode(prompt, skip_special_tokens=False).replace("<|", "<"))
            case "@running":
                return self._say(msgspec.json.encode([*self._running]).decode())
            case "@aborted":  # the last few
                return self._say(msgspec.json.encode(self._aborted[-4:]).decode())
            case "@random":
                letters = random.Random(params.seed).choices("abcdefgh", k=24)
                return self._say("".join(letters))
            case _:
                return self._say(text)

    def _until_released(self) -> Iterator[None]:
        before = self._num_releases
        return itertools.takewhile(lambda _: self._num_releases == before, itertools.repeat(None))

    def _say(self, text: str) -> Iterator[int]:
        """The text and its end, again and again if the end is not a stop token."""
        tokens = self._tokenizer.encode(text, add_special_tokens=False, parse_special=False)
        return itertools.chain(tokens, self._end(), itertools.cycle([*tokens, *self._end()]))

    def _end(self) -> list[int]:
        return sorted(self._tokenizer.eos_token_ids)[:1]


def _silence(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield None


def _slowly(tokens: Iterator[int]) -> Iterator[int | None]:
    for token_id in tokens:
        yield from _silence(0.05)
        yield token_id


def _spin() -> Iterator[int]:
    while True:
        pass
    yield 0


def _die(name: str) -> Iterator[int]:
    os.kill(os.getpid(), signal.Signals[name])
    yield 0


def _take_memory(file: Path) -> None:
    """The memory of a machine on which one engine has room: as long as this process lives it is taken."""
    taken = file.open("w")
    try:
        fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MemoryFitError("Not enough memory for two") from None
    _held.append(taken)


_held: list[IO[str]] = []


def build(path: Path, config: EngineConfig, compiling: TellCompiling) -> ScriptedEngine:
    if config.device == "broken":
        raise CheckpointError("the weights are not there")
    if config.device == "compiling":
        compiling(60)
    if config.device == "slow":
        time.sleep(60)
    if config.device.startswith("narrow "):
        _take_memory(Path(config.device.removeprefix("narrow ")))
    return ScriptedEngine(load_tokenizer(path), config.context_length, [name for name, _ in config.adapters])


if __name__ == "__main__":
    sys.exit(main(build))
