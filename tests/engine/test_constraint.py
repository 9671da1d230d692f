"""Answers that follow a grammar: in any batch, on any runner, however tokens are chosen, and whatever goes wrong."""

from __future__ import annotations

import json
import random
import re
import threading
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from llmrt.engine.request import RequestOutput, SamplingParams
from llmrt.text.grammar import choice_grammar, json_schema_grammar, regex_grammar
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt.text.tokenizer import Tokenizer
from tests.engines import answer, open_engine, run, tokens
from tests.tiny import make_model, save_model
from tests.tiny_vocabulary import SIZE, write_vocabulary

SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"enum": ["x", "yy", None]},
        "on": {"type": "boolean"},
        "n": {"type": "array", "items": {"type": "integer", "minimum": -9, "maximum": 99}, "maxItems": 3},
    },
    "required": ["a", "on", "n"],
    "additionalProperties": False,
}
REGEX = r"[a-f]{2,6}(-[0-9]+)?"
CHOICES = ["yes", "no", "yes, but"]
GRAMMARS = {
    "schema": json_schema_grammar(SCHEMA, param="schema"),
    "regex": regex_grammar(REGEX, param="regex"),
    "choice": choice_grammar(CHOICES, param="choice"),
}
# More ids than the vocabulary has: embedding tables are padded.
PADDED = SIZE + 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(make_model("llama", vocab_size=PADDED), folder)
    return write_vocabulary(folder)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


def valid(kind: str, text: str) -> bool:
    match kind:
        case "schema":
            return Draft202012Validator(SCHEMA).is_valid(json.loads(text))
        case "regex":
            return re.fullmatch(REGEX, text) is not None
        case _:
            return text in CHOICES


def random_params(rng: random.Random, kind: str, tokenizer: Tokenizer) -> SamplingParams:
    return SamplingParams(
        temperature=rng.choice([0, 0.7, 1.5]),
        top_k=rng.choice([0, 3]),
        top_p=rng.choice([1, 0.8]),
        seed=rng.randrange(1 << 30),
        repetition_penalty=rng.choice([1, 1.4]),
        frequency_penalty=rng.choice([0, 0.5]),
        logit_bias={rng.randrange(PADDED): rng.choice([-100, 100])},
        logprobs=rng.choice([None, 2]),
        max_tokens=rng.choice([4, 120]),
        stop_token_ids=tokenizer.eos_token_ids,
        grammar=GRAMMARS.get(kind),
    )


def some_requests(seed: int, tokenizer: Tokenizer) -> dict[str, tuple[list[int], SamplingParams]]:
    rng = random.Random(seed)
    requests = {}
    for i in range(8):
        kind = rng.choice([*GRAMMARS, "free"])
        prompt = [rng.randrange(32, 127) for _ in range(rng.randrange(1, 40))]
        requests[f"{kind}-{i}"] = prompt, random_params(rng, kind, tokenizer)
    return requests


def check(outputs: list[RequestOutput], kind: str, tokenizer: Tokenizer) -> None:
    text = tokenizer.decode(tokens(outputs))
    match outputs[-1].finish_reason:
        case "stop":
            assert valid(kind, text), text
        case reason:
            assert reason == "length", (reason, outputs[-1].error)


@pytest.mark.parametrize("seed", range(6))
def test_c32_every_answer_that_stops_is_valid_and_the_same_as_alone(
    folder: Path, tokenizer: Tokenizer, seed: int
) -> None:
    requests = some_requests(seed, tokenizer)
    together = answer(open_engine(folder), requests)
    for name, outputs in together.items():
        if not name.startswith("free"):
            check(outputs, name.partition("-")[0], tokenizer)
        alone = answer(open_engine(folder), {name: requests[name]})[name]
        assert tokens(alone) == tokens(outputs)


def test_preempted_requests_go_on_where_they_were(folder: Path, tokenizer: Tokenizer) -> None:
    requests = some_requests(3, tokenizer)
    roomy = answer(open_engine(folder), requests)
    tight = open_engine(folder)
    rng = random.Random(3)
    for name, (prompt, params) in requests.items():
        tight.add(name, prompt, params)
    got: dict[str, list[RequestOutput]] = {}
    while tight.has_work:
        for output in tight.step():
            got.setdefault(output.request_id, []).append(output)
        if tight.scheduler._running and rng.random() < 0.2:
            tight.scheduler._preempt(rng.choice(list(tight.scheduler._running)))
    assert tight.scheduler.num_preemptions > 0
    assert {name: tokens(outputs) for name, outputs in got.items()} == {
        name: tokens(outputs) for name, outputs in roomy.items()
    }


def test_c12_what_is_cut_says_length(folder: Path, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=5, stop_token_ids=tokenizer.eos_token_ids, grammar=GRAMMARS["schema"])
    outputs = answer(open_engine(folder), {"r": ([40, 41], params)})["r"]
    assert outputs[-1].finish_reason == "length" and len(tokens(outputs)) == 5


def test_a_grammar_that_is_none_ends_its_request_alone(folder: Path, tokenizer: Tokenizer) -> None:
    good = SamplingParams(stop_token_ids=tokenizer.eos_token_ids, grammar=GRAMMARS["choice"])
    outputs = answer(
        open_engine(folder), {"bad": ([40], SamplingParams(grammar="start: unknown")), "good": ([40], good)}
    )
    (bad,) = outputs["bad"]
    assert bad.refused and bad.error is not None and "unknown" in bad.error and "\n" not in bad.error
    check(outputs["good"], "choice", tokenizer)


def test_others_go_on_while_a_grammar_is_compiled(folder: Path, tokenizer: Tokenizer) -> None:
    engine = open_engine(folder)
    assert engine._grammars is not None
    held = threading.Event()
    load = engine._grammars._load_tokenizer

    def slowly() -> Tokenizer:
        held.wait()
        return load()

    engine._grammars._load_tokenizer = slowly
    params = SamplingParams(stop_token_ids=tokenizer.eos_token_ids, grammar=GRAMMARS["choice"])
    engine.add("slow", [40], params)
    engine.add("left", [40], params)
    engine.add("free", [40], SamplingParams(max_tokens=5))
    outputs = [output for _ in range(5) for output in engine.step()]
    assert [output.request_id for output in outputs] == ["free"] * 5 and engine.has_work
    assert engine.step() == []
    engine.abort("left")
    held.set()
    rest = run(engine)
    assert set(rest) == {"slow"}
    check(rest["slow"], "choice", tokenizer)


def test_a_grammar_that_fails_midway_ends_with_an_error(folder: Path, tokenizer: Tokenizer) -> None:
    engine = open_engine(folder)
    engine.add("r", [40], SamplingParams(stop_token_ids=tokenizer.eos_token_ids, grammar=GRAMMARS["schema"]))
    outputs: list[RequestOutput] = []
    while len(outputs) < 3:
        outputs += engine.step()
    (request,) = engine.scheduler._running
    assert request.constraint is not None
    request.constraint.advance(tokenizer.encode("~")[0])  # which the grammar does not allow
    (last,) = run(engine)["r"]
    assert last.finish_reason == "error" and last.token_ids == () and last.error is not None and last.refused
