"""A model for programs without asyncio, which it runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar

from llmrt.engine.request import Pooling
from llmrt.errors import LlmrtError, RequestError
from llmrt.library.async_llm import AsyncLLM, Messages, Prompts
from llmrt.server.embedding import Vector
from llmrt.server.responses import ChatChunk, ChatCompletion, Completion
from llmrt.server.runner import new_event_loop
from llmrt.text.tokenizer import Tokenizer

T = TypeVar("T")


class LLM:
    """A model whose engine runs in a process of its own, until ``close``, the end of a ``with`` or of the program.

    See ``AsyncLLM``: what it awaits, this returns. Threads may share it; what they ask is computed side by side.
    """

    def __init__(
        self,
        model: str | PathLike[str],
        *,
        revision: str | None = None,
        adapters: Mapping[str, str | PathLike[str]] | None = None,
        **settings: Any,
    ) -> None:
        """See ``AsyncLLM.load``. Raises ``LlmrtError`` for a model or a setting that cannot work."""
        self._thread = _LoopThread()
        try:
            loading = AsyncLLM.load(model, revision=revision, adapters=adapters, **settings)
            self._llm = self._thread.run(loading)
        except BaseException:
            self._thread.stop()
            raise
        self._ending = weakref.finalize(self, _end, self._thread, self._llm)
        self._ending.atexit = False  # the engine ends with the program by itself

    @property
    def context_length(self) -> int:
        """The most tokens that a prompt and its answer can have together."""
        return self._llm.context_length

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        return self._llm.tokenizer

    def chat(self, messages: Messages, **fields: Any) -> ChatCompletion:
        """Answer a conversation; a text is one message of the user. Raises ``LlmrtError``."""
        return self._thread.run(self._llm.chat(messages, **fields))

    def chat_all(self, conversations: Sequence[Messages], **fields: Any) -> list[ChatCompletion]:
        """Answer several conversations side by side. Raises ``LlmrtError`` for the first that cannot be answered."""
        if isinstance(conversations, str) or not hasattr(conversations, "__iter__"):
            raise RequestError("conversations must be a list of what chat takes.", param="conversations")
        return self._thread.run(_together([self._llm.chat(messages, **fields) for messages in conversations]))

    def stream_chat(self, messages: Messages, **fields: Any) -> Generator[ChatChunk]:
        """An answer in chunks, as they come; closing the generator stops it."""
        return self._thread.each(self._llm.stream_chat(messages, **fields))

    def complete(self, prompt: Prompts, **fields: Any) -> Completion:
        """Continue a text, token ids, or several of them side by side, as plain text. Raises ``LlmrtError``."""
        return self._thread.run(self._llm.complete(prompt, **fields))

    def stream_complete(self, prompt: Prompts, **fields: Any) -> Generator[Completion]:
        """The same in chunks, as they come; closing the generator stops it."""
        return self._thread.each(self._llm.stream_complete(prompt, **fields))

    def embed(
        self, texts: str | Sequence[str], *, pooling: Pooling = "mean", normalize: bool = True, model: str | None = None
    ) -> list[Vector]:
        """A vector for each text: its final hidden states, the mean of them or the last. Raises ``LlmrtError``."""
        return self._thread.run(self._llm.embed(texts, pooling=pooling, normalize=normalize, model=model))

    def close(self) -> None:
        """End the engine, which gives its memory back; nothing can be asked any more."""
        self._ending()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._runs = threading.Event()
        self._open = set[AsyncGenerator[Any]]()
        self._thread = threading.Thread(target=self._work, name="llmrt", daemon=True)
        self._thread.start()
        self._runs.wait()

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            self._loop, self._stopped = runner.get_loop(), asyncio.Event()
            self._runs.set()
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        """Wait for ``stop``, then close the streams that are open.

        A loop that ends with open generators closes them in any order, and complains of those that wait for another.
        """
        await self._stopped.wait()
        for items in [*self._open]:
            with suppress(RuntimeError):  # a thread is waiting for its next one
                await items.aclose()

    @property
    def is_current(self) -> bool:
        """Whether this is called in it."""
        return threading.current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns; it is cancelled where waiting for it is, by Ctrl+C."""
        if not self._thread.is_alive():
            work.close()
            raise LlmrtError("This model was closed.")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def each(self, items: AsyncGenerator[T]) -> Generator[T]:
        """What ``items`` yields."""
        self._open.add(items)
        try:
            while True:
                try:
                    yield self.run(_next(items))
                except StopAsyncIteration:
                    return
        finally:
            self._open.discard(items)
            # Not waited for: a generator that nobody has any more may be closed in any thread, this one too.
            if self._thread.is_alive():
                asyncio.run_coroutine_threadsafe(items.aclose(), self._loop)

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()


async def _next(items: AsyncGenerator[T]) -> T:
    return await anext(items)


async def _together(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What each returns, or the first error, which cancels the others."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _end(thread: _LoopThread, llm: AsyncLLM) -> None:
    if thread.is_current:  # where the garbage collector happened to run: it cannot wait for itself
        threading.Thread(target=_end, args=(thread, llm)).start()
        return
    thread.run(llm.close())
    thread.stop()
