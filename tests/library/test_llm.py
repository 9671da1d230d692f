"""Models in a program: what the HTTP API answers, without HTTP."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from llmrt import LLM, AsyncLLM, LlmrtError
from llmrt.config import EngineConfig
from llmrt.engine.loading.build import build_engine
from llmrt.errors import ConfigError, ContextLengthError, RequestError
from tests.cli.tiny_model import make_tiny_llama
from tests.engines import greedy

COUNT = 12
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": COUNT, "ignore_eos": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("library") / "tiny", hidden_size=128, intermediate_size=96)


@pytest.fixture(scope="module")
def llm(folder: Path) -> Iterator[LLM]:
    with LLM(folder, threads=1) as llm:
        yield llm


def engines() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if _is_engine(child)]


def _is_engine(process: psutil.Process) -> bool:
    try:
        return "llmrt.engine.worker" in process.cmdline()
    except psutil.NoSuchProcess:  # it has just ended
        return False


def test_a_completion_is_the_text_of_the_engines_tokens(folder: Path, llm: LLM) -> None:
    prompts = ["hello the world", "spam"]
    answer = llm.complete(prompts, return_token_ids=True, **GREEDY)
    engine = build_engine(folder, EngineConfig(threads=1))
    for prompt, choice in zip(prompts, answer.choices, strict=True):
        tokens = greedy(engine, llm.tokenizer.encode(prompt), COUNT)
        assert choice.token_ids == tokens
        assert choice.text == llm.tokenizer.decode(tokens)
        assert llm.complete(llm.tokenizer.encode(prompt), **GREEDY).choices[0].text == choice.text
    assert answer.usage.completion_tokens == 2 * COUNT  # pyright: ignore[reportOptionalMemberAccess,reportAttributeAccessIssue]


def test_a_text_is_one_message_of_the_user_and_chunks_are_the_same_answer(llm: LLM) -> None:
    whole = llm.chat("hello", **GREEDY).choices[0].message.content
    assert llm.chat([{"role": "user", "content": "hello"}], **GREEDY).choices[0].message.content == whole
    chunks = list(llm.stream_chat("hello", **GREEDY))
    assert (
        "".join(c.delta.content for chunk in chunks for c in chunk.choices if isinstance(c.delta.content, str)) == whole
    )
    assert chunks[-1].choices[0].finish_reason == "length"
    text = llm.complete("hello", **GREEDY).choices[0].text
    assert "".join(chunk.choices[0].text for chunk in llm.stream_complete("hello", **GREEDY)) == text


def test_side_by_side_each_says_what_it_says_alone(llm: LLM) -> None:
    turns = ["hello", "the world", "spam spam", "he"]
    alone = [llm.chat(turn, **GREEDY).choices[0].message.content for turn in turns]
    assert [each.choices[0].message.content for each in llm.chat_all(turns, **GREEDY)] == alone
    with ThreadPoolExecutor() as threads:
        answers = [threads.submit(llm.chat, turn, **GREEDY) for turn in turns]
    assert [each.result().choices[0].message.content for each in answers] == alone


def test_of_several_the_first_that_cannot_be_answered_is_the_error(llm: LLM) -> None:
    with pytest.raises(ContextLengthError):
        llm.chat_all(["hello", "spam " * 1000], max_tokens=100)
    assert llm.chat("hello", **GREEDY).choices[0].finish_reason == "length"


def test_fields_are_those_of_the_http_api(llm: LLM) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
    asked = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    answer = llm.chat("hello", response_format=asked, temperature=0).choices[0].message.content
    assert json.loads(answer or "")["city"] in ("Rome", "Oslo")
    assert llm.complete("hello", max_tokens=1, logit_bias={"104": 100}, temperature=0).choices[0].text == "h"


def test_vectors_have_the_length_one_unless_they_are_asked_for_raw(llm: LLM) -> None:
    units, raw = llm.embed(["hello", "spam"]), llm.embed(["hello", "spam"], normalize=False)
    for unit, vector in zip(units, raw, strict=True):
        np.testing.assert_allclose(unit, vector / np.linalg.norm(vector), atol=1e-6)
    (one,) = llm.embed("spam")
    np.testing.assert_allclose(one, units[1], atol=1e-6)


def test_a_reader_that_leaves_stops_the_answer(llm: LLM) -> None:
    chunks = llm.stream_complete("hello", max_tokens=400, ignore_eos=True)
    next(chunks)
    chunks.close()
    assert llm.complete("spam", **GREEDY).choices[0].finish_reason == "length"


_CYCLE: dict[str, Any] = {}
_CYCLE["itself"] = _CYCLE


def _nested(depth: int) -> list[Any]:
    held: list[Any] = []
    for _ in range(depth):
        held = [held]
    return held


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chat_template_kwargs": {"a": _CYCLE}}, "chat_template_kwargs holds what JSON cannot: Circular"),
        ({"chat_template_kwargs": {"a": {1, 2}}}, "chat_template_kwargs holds .*set is not JSON"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": _CYCLE}}]}, "tools holds .*Circular"),
        ({"metadata": _nested(500)}, "metadata holds .*recursion limit"),
        ({"metadata": _nested(99_999)}, "metadata holds .*recursion depth"),
        ({"temprature": 1}, "temprature is not known; did you mean temperature"),
        ({"colour": 1}, "no effect: colour"),
        ({"temperature": 9}, "temperature is 9"),
        ({"stop": [""]}, "stop"),
        ({"model": "other"}, "'other' is not served"),
        ({"logit_bias": {-1: 1}}, "logit_bias: has the key -1"),
    ],
)
def test_a_wrong_field_is_named(llm: LLM, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        llm.chat("hello", **fields)
    with pytest.raises(RequestError, match=message):
        next(llm.stream_complete("hello", **fields))


def test_what_is_no_conversation_and_no_vector_is_refused_and_the_model_goes_on(llm: LLM) -> None:
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: llm.chat({"role": "user", "content": "hello"}), "messages: .* list"),  # pyright: ignore[reportArgumentType]
        (lambda: llm.chat(None), "messages: .* list"),  # pyright: ignore[reportArgumentType]
        (lambda: llm.chat("hello", stream=True), "stream_chat"),
        (lambda: llm.complete("hello", stream=True), "stream_complete"),
        (lambda: llm.chat_all("hello"), "conversations must be a list of what chat takes"),
        (lambda: llm.chat_all(None), "conversations must be a list"),  # pyright: ignore[reportArgumentType]
        (lambda: llm.embed(5), "input: must be a string"),  # pyright: ignore[reportArgumentType]
        (lambda: llm.chat("hello", regex="\ud800"), "regex has half a surrogate pair"),
        (lambda: llm.embed("hello", pooling="max"), "pooling: .*'mean'"),  # pyright: ignore[reportArgumentType]
        (lambda: llm.embed("hello", normalize="no"), "normalize"),  # pyright: ignore[reportArgumentType]
    ]
    for ask, message in wrong:
        with pytest.raises(RequestError, match=message):
            ask()
    assert llm.embed([]) == []
    np.testing.assert_array_equal(llm.embed("hello", pooling=None, normalize=None), llm.embed(("hello",)))  # pyright: ignore[reportArgumentType]
    token = llm.tokenizer.encode("hello")[0]
    assert llm.complete("spam", logit_bias={token: 100}, **GREEDY).choices[0].text == "hello" * COUNT


def test_fewer_tokens_than_were_asked_for_are_told_of(llm: LLM, caplog: pytest.LogCaptureFixture) -> None:
    answer = llm.complete([65] * (llm.context_length - 2), **{**GREEDY, "max_tokens": 9})
    assert answer.usage.completion_tokens == 2  # pyright: ignore[reportOptionalMemberAccess,reportAttributeAccessIssue]
    assert "fewer tokens than were asked for: max_tokens=2" in caplog.text


def test_a_prompt_beyond_the_context_is_refused(llm: LLM) -> None:
    with pytest.raises(ContextLengthError, match="use a larger context_length"):
        llm.complete([65] * (llm.context_length + 1))
    with pytest.raises(ContextLengthError, match="use a larger context_length"):
        llm.embed("spam " * llm.context_length)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantt": "int4"}, r"no setting 'quantt'; did you mean quant\?"),
        ({"ctx": 512}, r"no setting 'ctx'; did you mean context_length\?"),
        ({"max_model_len": 512}, r"no setting 'max_model_len'; did you mean context_length\?"),
        ({"gpu_memory_utilization": 0.8}, r"did you mean gpu_memory\?"),
        ({"load_in_4bit": True}, r'did you mean quant="int4"\?'),
        ({"colour": "red"}, "no setting 'colour'; there are context_length, dtype"),
        ({"threads": "two"}, r"threads: Expected int \| null, got str"),
        ({"quant": "int5"}, "^quant is 'int5'"),
        ({"dtype": "int16"}, "^dtype is 'int16'; it must be one of auto, fp32"),
        ({"speculate": "always"}, "^speculate is 'always'; it must be one of auto, ngram, off"),
        ({"max_num_batched_tokens": 0}, "^max_num_batched_tokens is 0"),
        ({"context_length": -4}, "^context_length is -4"),
    ],
)
def test_a_wrong_setting_is_named_and_leaves_no_engine(folder: Path, settings: dict[str, Any], message: str) -> None:
    before = len(engines())
    with pytest.raises(LlmrtError, match=message):
        LLM(folder, **settings)
    assert len(engines()) == before


def test_what_was_closed_says_so(folder: Path) -> None:
    before = engines()
    llm = LLM(folder, threads=1)
    stream = llm.stream_complete("hello", max_tokens=300)
    next(stream)
    llm.close()
    llm.close()
    assert engines() == before
    for ask in (lambda: llm.chat("hello"), lambda: next(stream), lambda: next(llm.stream_chat("hello"))):
        with pytest.raises(LlmrtError, match="was closed"):
            ask()


def test_a_cycle_that_the_loops_own_thread_collects_ends_its_engine(folder: Path) -> None:
    before = engines()
    holder: dict[str, Any] = {"llm": LLM(folder, threads=1)}
    holder["itself"] = holder
    thread = holder["llm"]._thread
    (engine,) = [each for each in engines() if each not in before]
    del holder

    async def collect() -> None:
        gc.collect()

    thread.run(collect())
    engine.wait(60)


def test_a_model_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(LlmrtError, match="missing"):
        LLM(tmp_path / "missing")


def test_a_model_that_has_to_be_awaited_says_so(folder: Path) -> None:
    with pytest.raises(TypeError, match=r"llm = await AsyncLLM\.load"):
        AsyncLLM(folder, threads=1)


async def test_asyncio_awaits_what_threads_wait_for(folder: Path, llm: LLM) -> None:
    before = engines()
    async with await AsyncLLM.load(folder, threads=1) as model:
        (engine,) = [each for each in engines() if each not in before]
        whole = await model.chat("hello", **GREEDY)
        pieces = [c.choices[0].delta.content async for c in model.stream_chat("hello", **GREEDY)]
    assert whole.choices[0].message.content == llm.chat("hello", **GREEDY).choices[0].message.content
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == whole.choices[0].message.content
    assert not engine.is_running()


@pytest.mark.parametrize("ending", ["", "llm.close()"])
def test_a_program_that_ends_leaves_nothing_behind_and_imports_no_torch(folder: Path, ending: str) -> None:
    code = f"""
import sys
from llmrt import LLM
llm = LLM({str(folder)!r}, threads=1)
stream = llm.stream_chat("hello", max_tokens=300)
next(stream)
print("torch" in sys.modules)
{ending}
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_settings_are_fields_of_the_engines_configuration() -> None:
    from llmrt.library.settings import engine_config

    assert engine_config(quant="int4", threads=2) == EngineConfig(quant="int4", threads=2, speculate="auto")
    with pytest.raises(ConfigError, match=r"^quant is .int3.; it must be one of stored, none, int8, int4, auto\.$"):
        engine_config(quant="int3")
    with pytest.raises(ConfigError, match="there are context_length"):
        engine_config(nothing=1)
