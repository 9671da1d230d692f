"""The engine: schedule, execute, update, emit. It knows tokens, not text. Free of torch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmrt.config import EngineConfig
from llmrt.engine.adapters import Adapters
from llmrt.engine.hardware.system_memory import allocation
from llmrt.engine.interleave import Interleave
from llmrt.engine.request import Adapter, Pooling, Request, RequestOutput, SamplingParams, check_token_ids
from llmrt.engine.run_ahead import RunAhead
from llmrt.engine.runners.runner import AsyncRunner, ModelRunner
from llmrt.engine.sampling.grammars import Grammars
from llmrt.engine.scheduler import Scheduler
from llmrt.engine.speculation.speculation import Speculation
from llmrt.engine.stats import EngineStats
from llmrt.errors import ConfigError, ContextLengthError, LlmrtError, RequestError

DEFAULTS = EngineConfig()


class LLMEngine:
    """Any number of requests, computed side by side, one step at a time.

    ``notices`` are lines for the person who started the engine, such as a context that had to be reduced; more may come
    while it runs. ``config`` is what it runs with, formats that were left to it chosen. Without ``grammars`` no request
    can have one, nor an adapter without ``adapters``. ``speculation`` is for a runner that verifies.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        runner: ModelRunner | AsyncRunner,
        notices: Sequence[str] = (),
        config: EngineConfig = DEFAULTS,
        grammars: Grammars | None = None,
        adapters: Adapters | None = None,
        speculation: Speculation | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.notices = notices
        self.config = config
        self._runner = runner
        self._grammars = grammars
        self._adapters = adapters
        self._speculation = speculation
        self._is_warm = False
        self._loop = (
            RunAhead(scheduler, runner, speculation=speculation)
            if isinstance(runner, AsyncRunner)
            else Interleave(scheduler, runner, speculation=speculation)
        )

    @property
    def context_length(self) -> int:
        """The most tokens that a prompt and its answer can have together."""
        return self.scheduler.context_length

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""
        return self._runner.vocab_size

    @property
    def embedding_size(self) -> int:
        """Numbers in the vector of a text."""
        return self._runner.hidden_size

    @property
    def stats(self) -> EngineStats:
        """Its state just now. A request whose grammar is compiled waits."""
        scheduler, kv, speculation = self.scheduler, self.scheduler.kv, self._speculation
        return EngineStats(
            num_running=scheduler.num_running,
            num_waiting=scheduler.num_waiting + self._num_compiling,
            kv_usage=kv.usage,
            num_preemptions=scheduler.num_preemptions,
            prefix_queries=kv.num_queried_tokens,
            prefix_hits=kv.num_found_tokens,
            disk_queries=kv.num_disk_queried_tokens,
            disk_hits=kv.num_read_tokens,
            num_drafts=speculation.num_drafts if speculation else 0,
            num_draft_tokens=speculation.num_draft_tokens if speculation else 0,
            num_accepted_tokens=speculation.num_accepted_tokens if speculation else 0,
            num_blocks=kv.num_blocks,
            block_size=kv.block_size,
        )

    @property
    def has_work(self) -> bool:
        """Whether ``step`` would compute anything."""
        return self.scheduler.has_requests or self._num_compiling > 0 or self.scheduler.kv.has_disk_work

    def add(
        self, request_id: str, token_ids: Sequence[int], params: SamplingParams, adapter: str | None = None
    ) -> None:
        """Queue a request, for the ``adapter`` of that name if there is one.

        Raises ``RequestError`` for values, tokens, a length or a name that cannot be served.
        """
        check_request(token_ids, params, self.vocab_size, self.context_length)
        request = Request(request_id, list(token_ids), params, adapter=self._adapter(adapter))
        if params.grammar is None:
            self.scheduler.add(request)
        elif self._grammars is not None:
            self._grammars.compile(request)
        else:
            raise RequestError("This model has no vocabulary, so it cannot follow a grammar.", param="grammar")

    def embed(self, request_id: str, token_ids: Sequence[int], pooling: Pooling, adapter: str | None = None) -> None:
        """Queue a text whose vector is wanted; raises as ``add`` does."""
        _check_tokens(token_ids, self.vocab_size)
        if len(token_ids) > self.context_length:
            raise ContextLengthError(len(token_ids), self.context_length, param="input")
        self.scheduler.add(Request(request_id, list(token_ids), SamplingParams(), pooling, self._adapter(adapter)))

    @allocation()
    def load_adapter(self, name: str, folder: Path) -> None:
        """Take requests for the LoRA adapter in ``folder`` from now on. Raises ``LlmrtError``.

        What such requests launch is compiled here if the engine was warmed up.
        """
        self._all_adapters.load(name, folder)
        if self._is_warm:
            try:
                with _first_steps(f"with the adapter {name!r}", "a model that llmrt merge wrote needs none of these"):
                    self._runner.warm_up(self._most_tokens, adapted=True)
            except LlmrtError:
                self._all_adapters.refuse(name)
                raise

    def unload_adapter(self, name: str) -> None:
        """Take no more requests for it; those that are here go on to their end. Raises ``RequestError``."""
        self._all_adapters.unload(name)
        self._let_adapters_go()

    def abort(self, request_id: str) -> None:
        """Forget a request; nothing more is emitted for it."""
        self.scheduler.abort(request_id)
        if self._grammars is not None:
            self._grammars.abort(request_id)
        self._let_adapters_go()

    def warm_up(self) -> None:
        """Compile what a GPU would compile in the midst of serving, with adapters too if it was started with some.

        Raises ``MemoryFitError`` where its steps find no memory, ``ConfigError`` where they fail.
        """
        with _first_steps("before any request", "--device cpu does without them"):
            self._runner.warm_up(self._most_tokens)
            if self.config.adapters:
                self._runner.warm_up(self._most_tokens, adapted=True)
            if self._speculation is not None:
                self._speculation.warm_up()
        self._is_warm = True

    def fill(self, depth: int) -> None:
        """For measuring: take the first ``depth`` tokens of every request for computed, with random keys and values."""
        self._runner.randomize_cache()
        while True:
            scheduled = self.scheduler.schedule()
            filled = {r: min(n, depth - r.num_computed_tokens) for r, n in scheduled.items()}
            filled = {request: num_tokens for request, num_tokens in filled.items() if num_tokens > 0}
            if not filled:
                return
            self.scheduler.update(filled, {})

    def step(self) -> list[RequestOutput]:
        """Advance every running request; returns what each of them gained, by this step or the one before it."""
        outputs = self._admit_compiled()
        if self.scheduler.has_requests:
            outputs += self._loop.step()
        if self.scheduler.kv.has_disk_work:
            self.scheduler.advance_disk()
        self._let_adapters_go()
        return outputs

    @property
    def _most_tokens(self) -> int:
        """Of a step."""
        return max(self.config.step_tokens, self.config.max_num_seqs)

    @property
    def _all_adapters(self) -> Adapters:
        if self._adapters is None:
            raise RequestError("This engine takes no adapters.", param="model")
        return self._adapters

    def _adapter(self, name: str | None) -> Adapter | None:
        return None if name is None else self._all_adapters.find(name)

    def _let_adapters_go(self) -> None:
        """Those that were unloaded, once no request has them; nobody looks for those of grammars that are compiled."""
        if self._adapters is not None and self._adapters.are_leaving and not self._num_compiling:
            self._adapters.let_go({request.adapter for request in self.scheduler.requests})

    @property
    def _num_compiling(self) -> int:
        return 0 if self._grammars is None else self._grammars.num_pending

    def _admit_compiled(self) -> list[RequestOutput]:
        """Queue the requests whose grammars are compiled; returns the ends of those whose grammars are refused."""
        if self._grammars is None or not self._num_compiling:
            return []
        if not self.scheduler.has_requests:
            self._grammars.wait()
        ready, refused = self._grammars.take()
        for request in ready:
            self.scheduler.add(request)
        return refused


@contextmanager
def _first_steps(which: str, instead: str) -> Generator[None]:
    """Inside, whatever fails is a ``LlmrtError``: compilers and drivers raise errors of many kinds."""
    try:
        with allocation():
            yield
    except LlmrtError:
        raise
    except Exception as error:
        raise ConfigError(
            f"The first steps on the GPU, {which}, failed; {instead}. {type(error).__name__}: {error}"
        ) from error


def check_request(token_ids: Sequence[int], params: SamplingParams, vocab_size: int, context_length: int) -> None:
    """Raise ``RequestError`` if an engine of this vocabulary and context cannot serve the request."""
    _check_tokens(token_ids, vocab_size)
    if len(token_ids) + (params.max_tokens != 0) > context_length:
        raise ContextLengthError(len(token_ids), context_length)
    params.validate(vocab_size)


def _check_tokens(token_ids: Sequence[int], vocab_size: int) -> None:
    if not token_ids:
        raise RequestError("The prompt is empty: it has no tokens.", param="prompt")
    check_token_ids("The prompt holds", token_ids, vocab_size, param="prompt")
