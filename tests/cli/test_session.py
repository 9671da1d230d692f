"""A model in this process: the text is what the engine's tokens say, however an answer ends."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from llmrt.cli.interrupt import interrupts_deferred
from llmrt.cli.session import LocalModel, Session, find_model
from llmrt.config import EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading.build import build_engine
from llmrt.engine.request import RequestOutput, SamplingParams
from llmrt.errors import ContextLengthError, RequestError, TemplateError
from llmrt.text.chat_template import ChatTemplate
from tests.cli.tiny_model import make_tiny_llama
from tests.engines import greedy

Expected = Callable[[list[int]], list[int]]
COUNT = 12
GREEDY = SamplingParams(temperature=0, max_tokens=COUNT)
CONFIG = EngineConfig(block_size=8, max_num_seqs=1, threads=1)


@pytest.fixture(scope="module")
def model(tiny: Path) -> LocalModel:
    return find_model(str(tiny))


@pytest.fixture
def engine(tiny: Path) -> LLMEngine:
    return build_engine(tiny, CONFIG)


@pytest.fixture
def session(model: LocalModel, engine: LLMEngine) -> Session:
    return Session(model, engine)


@pytest.fixture(scope="module")
def expected(tiny: Path) -> Expected:
    """The tokens that an engine without a prefix cache gives to a prompt."""
    engine = build_engine(tiny, replace(CONFIG, prefix_caching=False))
    return lambda token_ids: greedy(engine, token_ids, COUNT)


def answer(session: Session, token_ids: list[int], params: SamplingParams = GREEDY, **options: object) -> str:
    return "".join(session.stream(token_ids, params, **options))  # pyright: ignore[reportArgumentType]


def test_the_pieces_are_the_text_of_the_engines_tokens(expected: Expected, session: Session) -> None:
    prompt = session.encode("hello the world")
    text = answer(session, prompt)
    tokens = expected(prompt)
    assert text == session.model.tokenizer.decode(tokens)
    last = session.last
    assert last is not None
    assert last.token_ids == tuple(tokens)
    assert (last.num_prompt_tokens, last.num_output_tokens, last.num_cached_tokens) == (len(prompt), COUNT, 0)
    assert last.finish_reason == "length"
    assert last.time_to_first_token is not None and last.time_to_first_token > 0
    assert last.decode_rate is not None and last.decode_rate > 0


def test_a_token_that_ends_the_answer_counts_but_is_not_shown(expected: Expected, session: Session) -> None:
    prompt = session.encode("hello the world")
    tokens = expected(prompt)
    end = next(i for i in range(2, COUNT) if tokens[i] not in tokens[:i])
    params = SamplingParams(temperature=0, max_tokens=COUNT, stop_token_ids=frozenset({tokens[end]}))
    assert answer(session, prompt, params) == session.model.tokenizer.decode(tokens[:end])
    assert session.last is not None
    assert session.last.token_ids == tuple(tokens[: end + 1])
    assert session.last.finish_reason == "stop"


def test_a_stop_string_ends_the_answer_before_it(session: Session, engine: LLMEngine) -> None:
    prompt = session.encode("hello the world")
    whole = answer(session, prompt)
    stop = whole[3:6]
    assert answer(session, prompt, stop=[stop]) == whole[: whole.index(stop)]
    assert session.last is not None
    assert (session.last.finish_reason, session.last.stop) == ("stop", stop)
    assert session.last.num_output_tokens < COUNT
    assert not engine.has_work


def test_a_reader_that_leaves_drops_the_request(expected: Expected, session: Session, engine: LLMEngine) -> None:
    prompt = session.encode("hello the world")
    with closing(session.stream(prompt, GREEDY)) as pieces:
        next(pieces)
    assert not engine.has_work
    engine.scheduler.check_integrity()
    assert session.last is not None
    assert session.last.finish_reason == "abort"
    assert 0 < session.last.num_output_tokens < COUNT
    assert answer(session, prompt) == session.model.tokenizer.decode(expected(prompt))


def test_the_next_turn_starts_from_the_cache_and_says_the_same(expected: Expected, session: Session) -> None:
    messages: list[dict[str, object]] = [{"role": "user", "content": "hello"}]
    answer(session, session.encode_messages(messages))
    messages += [{"role": "assistant", "content": "the the"}, {"role": "user", "content": "spam"}]
    prompt = session.encode_messages(messages)
    text = answer(session, prompt)
    assert session.last is not None and session.last.num_cached_tokens >= 16
    assert text == session.model.tokenizer.decode(expected(prompt))


def test_a_system_message_that_the_template_leaves_out_is_refused(model: LocalModel, engine: LLMEngine) -> None:
    source = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    session = Session(replace(model, template=ChatTemplate(source, bos_token="", eos_token="")), engine)
    messages = [{"role": "system", "content": "hello"}, {"role": "user", "content": "hello"}]
    assert session.encode_messages(messages[1:])
    with pytest.raises(RequestError, match="leaves out what has the role 'system'"):
        session.encode_messages(messages)


def test_a_prompt_beyond_the_context_is_refused_and_the_session_goes_on(session: Session) -> None:
    assert session.context_length == 512
    with pytest.raises(ContextLengthError, match="512"):
        answer(session, [1] * 512)
    answer(session, [1] * 511)
    assert session.last is not None
    assert (session.last.finish_reason, session.last.num_output_tokens) == ("length", 1)
    assert session.last.decode_rate is None


def test_text_that_is_not_utf8_is_refused(session: Session) -> None:
    with pytest.raises(RequestError, match="not valid UTF-8 at character 2"):
        session.encode("ab\udcff")


def test_a_model_without_a_template_says_what_it_can_do(tmp_path: Path) -> None:
    model = find_model(str(make_tiny_llama(tmp_path / "base", chat=False)))
    with pytest.raises(TemplateError, match=r"no chat template.*llmrt generate"):
        _ = model.chat_template


class CtrlC:
    """An engine during whose step number ``at`` somebody presses Ctrl+C."""

    def __init__(self, engine: LLMEngine, at: int) -> None:
        self.context_length, self.vocab_size = engine.context_length, engine.vocab_size
        self.add, self.abort = engine.add, engine.abort
        self.notices = engine.notices
        self._engine, self._at, self._steps = engine, at, 0

    @property
    def has_work(self) -> bool:
        return self._engine.has_work

    def step(self) -> list[RequestOutput]:
        self._steps += 1
        if self._steps == self._at:
            signal.raise_signal(signal.SIGINT)
        return self._engine.step()


@pytest.mark.parametrize("at", [1, 2, 7])
def test_ctrl_c_waits_for_the_step_and_leaves_the_engine_in_order(
    expected: Expected, model: LocalModel, engine: LLMEngine, at: int
) -> None:
    prompt = model.tokenizer.encode("hello the world")
    pieces: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        pieces.extend(Session(model, CtrlC(engine, at)).stream(prompt, GREEDY))  # pyright: ignore[reportArgumentType]
    assert not engine.has_work
    engine.scheduler.check_integrity()
    assert answer(Session(model, engine), prompt) == model.tokenizer.decode(expected(prompt))


def test_a_deferred_ctrl_c_is_raised_at_the_end_of_the_block() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            done.append("whole")
        done.append("never")
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_ctrl_c_has_another_meaning_it_keeps_it() -> None:
    seen: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, previous)
