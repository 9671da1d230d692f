"""A model in this process: its engine, tokenizer and chat template together, text in and text out."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmrt.cli.answer import Answer, Statistics
from llmrt.cli.interrupt import interrupts_deferred
from llmrt.cli.loading import load_engine
from llmrt.cli.terminal import say
from llmrt.config import EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading.read_ahead import read_ahead
from llmrt.engine.request import SamplingParams
from llmrt.errors import RequestError, TemplateError
from llmrt.hub.sources import resolve
from llmrt.text.chat_format import chat_format
from llmrt.text.chat_template import ChatTemplate, load_chat_template
from llmrt.text.generation_defaults import GenerationDefaults, load_generation_defaults
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llmrt.engine.loading.load_model import Model

_REQUEST_ID = "session"


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """A model on this disk, with what it takes to read and write its tokens; base models have no ``template``."""

    name: str
    path: Path
    tokenizer: Tokenizer
    template: ChatTemplate | None
    defaults: GenerationDefaults

    def open_model(self) -> Model:
        """Its configuration and weights; imports torch."""
        from llmrt.engine.loading.load_model import open_model

        return open_model(self.path)

    @property
    def chat_template(self) -> ChatTemplate:
        """The template. Raises ``TemplateError`` saying what to do with a model that has none."""
        if self.template is None:
            raise TemplateError(
                f"{self.name} has no chat template, so it cannot hold a conversation;"
                f" let it continue plain text with: llmrt generate {self.name} PROMPT"
            )
        return self.template


def find_model(model: str, revision: str | None = None) -> LocalModel:
    """Find ``model``, fetching it where needed, and read its text side; no weights yet. Raises ``LlmrtError``."""
    artifact = resolve(model, revision=revision, report=say)
    return LocalModel(
        name=artifact.name,
        path=artifact.path,
        tokenizer=load_tokenizer(artifact.path),
        template=load_chat_template(artifact.path),
        defaults=load_generation_defaults(artifact.path, artifact.sampling),
    )


def draft_path(model: str | None) -> str | None:
    """Where the draft model is, fetched where needed. Raises ``LlmrtError``."""
    return None if model is None else str(resolve(model, report=say).path)


class Session:
    """A model that gives one answer at a time, changed by the engine's adapter of that name if one is given.

    ``last`` has the statistics of the latest answer, also of one that was stopped.
    """

    def __init__(self, model: LocalModel, engine: LLMEngine, adapter: str | None = None) -> None:
        self.model = model
        self.last: Statistics | None = None
        self._engine = engine
        self._adapter = adapter
        self._num_noticed = len(engine.notices)

    @classmethod
    def open(cls, model: LocalModel, config: EngineConfig) -> Session:
        """Load the weights. Raises ``LlmrtError`` for a checkpoint or a setting that cannot work."""
        read_ahead(model.path, config)
        adapter = next((name for name, _ in config.adapters), None)
        return cls(model, load_engine(model.open_model, config), adapter)

    @property
    def context_length(self) -> int:
        """The most tokens that a prompt and its answer can have together."""
        return self._engine.context_length

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""
        return self._engine.vocab_size

    def encode(self, text: str) -> list[int]:
        """The tokens of a plain text, with what the model expects before it."""
        return self.model.tokenizer.encode(_checked(text))

    def encode_messages(self, messages: Sequence[Mapping[str, object]]) -> list[int]:
        """The tokens of a conversation, up to where the answer begins.

        Raises ``TemplateError``, and ``RequestError`` for a system message that the template leaves out.
        """
        chat = chat_format(self.model.chat_template)
        text = chat.render(chat.history(messages))
        return self.model.tokenizer.encode(_checked(text), add_special_tokens=False)

    def answer(self, messages: Sequence[Mapping[str, object]], params: SamplingParams) -> Generator[str]:
        """What is said next in a conversation, see ``stream``. Raises ``TemplateError`` too."""
        yield from self.stream(self.encode_messages(messages), params, strip_leading_space=True)

    def stream(
        self,
        token_ids: Sequence[int],
        params: SamplingParams,
        *,
        stop: Sequence[str] = (),
        strip_leading_space: bool = False,
    ) -> Generator[str]:
        """The text that follows ``token_ids``, as it comes, up to the first string of ``stop``.

        Closing the generator, or Ctrl+C between two steps of the engine, drops the request.
        ``strip_leading_space`` is for an answer that begins a text of its own, with vocabularies that put a
        space there. Raises ``RequestError`` for a prompt or parameters that cannot be served.
        """
        tokenizer = self.model.tokenizer
        strip = strip_leading_space and tokenizer.strips_leading_space
        answer = Answer(tokenizer, params.stop_token_ids, stop, strip_leading_space=strip)
        start = time.perf_counter()
        self._engine.add(_REQUEST_ID, token_ids, params, self._adapter)
        try:
            while answer.finish_reason is None:
                with interrupts_deferred():
                    outputs = self._engine.step()
                now = time.perf_counter()
                for output in outputs:
                    if text := answer.advance(output, now):
                        yield text
        finally:
            self._engine.abort(_REQUEST_ID)
            self._save_prompt()
            self.last = answer.statistics(len(token_ids), start)

    def _save_prompt(self) -> None:
        """Let the disk cache have what it wants of the last prompt, and say what it has to say."""
        while self._engine.has_work:
            self._engine.step()
        for notice in self._engine.notices[self._num_noticed :]:
            say(f"note: {notice}")
        self._num_noticed = len(self._engine.notices)


def _checked(text: str) -> str:
    """Raise ``RequestError`` for a text that came from bytes that are not UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestError(f"The text is not valid UTF-8 at character {error.start}.") from error
    return text
