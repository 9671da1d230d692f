"""What bodies say of their answer's form, and the grammar that reaches the engine: it answers with that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import tokenizers
from serving import chat, content, error_of, serving, write_model
from tokenizers import decoders, models, pre_tokenizers

from llmrt.config import ServerSettings
from tests.tiny_vocabulary import accepts

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
OPENAI = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
GBNF = 'root ::= "yes" | no\nno ::= "no" [0-9]*'


@pytest.mark.parametrize(
    ("fields", "right", "wrong"),
    [
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
            '{"n": 1}',
            "{}",
        ),
        ({"response_format": {"type": "json_schema", "schema": SCHEMA}}, '{"n":1}', '{"n":""}'),
        ({"response_format": {"type": "json_object"}}, '{"a": [1]}', "[]"),
        ({"response_format": {"type": "json_object", "schema": SCHEMA}}, '{"n": 1}', "{}"),
        ({"structured_outputs": {"json": SCHEMA}}, '{"n": 1}', "{}"),
        ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, '{"n": 1}', "{}"),
        ({"structured_outputs": {"json_object": True}}, "{}", "1"),
        ({"structured_outputs": {"regex": "[a-c]{2}"}}, "ac", "a"),
        ({"structured_outputs": {"choice": ["left", "right"]}}, "right", "lef"),
        ({"structured_outputs": {"grammar": GBNF}}, "no12", "maybe"),
        ({"guided_json": SCHEMA}, '{"n": 1}', "{}"),
        ({"guided_regex": "[a-c]{2}"}, "ac", "abc"),
        ({"guided_choice": ["left", "right"]}, "left", "up"),
        ({"guided_grammar": 'start: "a"+'}, "aaa", "b"),
        ({"json_schema": SCHEMA}, '{"n": 1}', "{}"),
        ({"json_schema": json.dumps(SCHEMA)}, '{"n": 1}', "{}"),
        ({"grammar": GBNF}, "yes", "no!"),
        ({"regex": "[a-c]{2}"}, "ac", "abc"),
        ({"ebnf": GBNF}, "yes", "no!"),
        ({"guided_grammar": GBNF, "structured_outputs": {"grammar": GBNF}}, "yes", "no!"),
    ],
)
def test_c32_every_way_to_ask_reaches_the_engine(
    http: httpx.Client, fields: dict[str, Any], right: str, wrong: str
) -> None:
    compiled = content(chat(http, "@grammar", **fields))
    assert accepts(compiled, right) and not accepts(compiled, wrong)


@pytest.mark.parametrize("fields", [{}, {"response_format": {"type": "text"}}, {"grammar": ""}, {"guided_json": None}])
def test_nothing_is_asked(http: httpx.Client, fields: dict[str, Any]) -> None:
    assert content(chat(http, "@grammar", **fields)) == ""


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "json_object"}, "response_format"),
        ({"response_format": {}}, "response_format"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": []}}}, "response_format"),
        ({"response_format": {"type": "json_object", "schema": {"type": "nothing"}}}, "response_format"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"regex": "("}}, "structured_outputs.regex"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs.choice"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": {"not": {}}}, "guided_json"),
        ({"guided_regex": "(?=a)a"}, "guided_regex"),
        ({"guided_regex": "a" * 20000}, "guided_regex"),
        ({"guided_choice": [1]}, "guided_choice[0]"),
        ({"guided_grammar": "start: unknown"}, "guided_grammar"),
        ({"grammar": "root := 1"}, "grammar"),
        ({"json_schema": {"x-guidance": {"lenient": True}, "not": {}}}, "json_schema"),
        ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "guided_regex"),
        ({"guided_regex": "a", "ignore_eos": True}, "ignore_eos"),
        ({"guided_regex": "a", "min_tokens": 2}, "min_tokens"),
    ],
)
def test_c32_what_cannot_be_followed_is_refused(http: httpx.Client, fields: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        error = error_of(chat(http, "hello", stream=stream, **fields), 400)
        assert (error["param"], error["type"]) == (param, "invalid_request_error")


def test_text_completions_have_the_same_fields(http: httpx.Client) -> None:
    response = http.post("/v1/completions", json={"prompt": "@grammar", "max_tokens": 400, "guided_regex": "[0-9]"})
    compiled = response.json()["choices"][0]["text"]
    assert accepts(compiled, "7") and not accepts(compiled, "x")
    error = error_of(http.post("/v1/completions", json={"prompt": "x", "guided_regex": "("}), 400)
    assert error["param"] == "guided_regex"


def test_c32_the_first_space_of_an_answer_that_is_asked_for_stays(tmp_path: Path) -> None:
    """Vocabularies of sentencepiece begin a text with a space, which is no part of free answers."""
    model = write_model(tmp_path / "model")
    backend = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    vocab = {f"<0x{i:02X}>": i for i in range(256)} | {"▁": 256}
    backend.model = models.BPE(vocab, [], byte_fallback=True)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    backend.save(str(model / "tokenizer.json"))
    with serving(model, ServerSettings()) as served, served.http() as http:
        assert content(chat(http, "@bytes 2041")) == "A"
        assert content(chat(http, "@bytes 2041", structured_outputs={"choice": [" A", "B"]})) == " A"
