"""Vectors over HTTP. The scripted engine's are (tokens, their sum or the last one, 1)."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from serving import error_of, serving, write_model
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from llmrt.config import ServerSettings

PATH = "/v1/embeddings"


def raw(http: httpx.Client, **fields: Any) -> list[list[float]]:
    """The vectors of an answer, not normalised."""
    response = http.post(PATH, json={"normalize": False, **fields})
    assert response.status_code == 200, response.text
    return [item["embedding"] for item in response.json()["data"]]


def test_c10_the_client_reads_what_it_asks_for(client: openai.OpenAI) -> None:
    texts = ["hello", "ab", "a"]
    # It asks for base64 by itself, which its own strict types do not know.
    with openai.OpenAI(base_url=client.base_url, api_key="none", max_retries=0) as by_default:
        as_text = by_default.embeddings.create(model="tiny-alias", input=texts)
    as_numbers = client.embeddings.create(model="tiny-alias", input=texts, encoding_format="float")
    assert (as_text.model, as_text.object, len(as_text.data)) == ("tiny-alias", "list", 3)
    for i, (one, other) in enumerate(zip(as_text.data, as_numbers.data, strict=True)):
        assert (one.index, one.object) == (i, "embedding")
        np.testing.assert_allclose(one.embedding, other.embedding, rtol=1e-6)
        assert np.linalg.norm(one.embedding) == pytest.approx(1, abs=1e-6)


def test_c10_base64_is_little_endian_fp32(http: httpx.Client) -> None:
    (text,) = raw(http, input="ab", encoding_format="base64")
    assert struct.unpack("<3f", base64.b64decode(text)) == (2, 97 + 98, 1)


def test_c10_every_form_of_input(http: httpx.Client) -> None:
    expected = [2, 97 + 98, 1]
    for one in ("ab", ["ab"], [97, 98], [[97, 98]]):
        assert raw(http, input=one) == [expected]
    for several in (["ab", "a"], [[97, 98], [97]], ["ab", [97]]):
        assert raw(http, input=several) == [expected, [1, 97, 1]]


def test_pooling_is_asked_for(http: httpx.Client) -> None:
    assert raw(http, input="ab", pooling="last") == [[2, 98, 1]]
    assert raw(http, input="ab", pooling="mean") == raw(http, input="ab")


def test_more_texts_than_the_queue_holds_keep_their_order(http: httpx.Client) -> None:
    lengths = [1 + i % 50 for i in range(300)]
    assert [vector[0] for vector in raw(http, input=["a" * n for n in lengths])] == lengths


@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed"])
def test_more_vectors_than_a_response_may_have_are_refused(http: httpx.Client, path: str) -> None:
    response = http.post(path, json={"input": ["a"] * 8193})
    assert response.status_code == 400
    assert "input has 8193 texts; a request may have 8192" in response.text


def test_usage_counts_the_tokens(http: httpx.Client) -> None:
    usage = http.post(PATH, json={"input": ["hello", "abc"]}).json()["usage"]
    assert usage == {"prompt_tokens": 4, "total_tokens": 4}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [["a"]]}, "input"),
        ({"input": [10**6]}, "input"),
        ({"input": 5}, "input"),
        ({"input": "x" * 513}, "input"),
        ({"input": "@reject"}, "input"),
        ({"input": "a", "dimensions": 2}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "pooling": "cls"}, "pooling"),
        ({"input": "a", "truncation_side": "middle"}, "truncation_side"),
        ({"input": "a", "model": "other"}, "model"),
        *(({"input": "a", "truncate_prompt_tokens": k}, "truncate_prompt_tokens") for k in (-2, 0, 513, "5")),
    ],
)
def test_c39_faults_name_their_field(http: httpx.Client, fields: dict[str, Any], param: str) -> None:
    error = error_of(http.post(PATH, json=fields), 404 if param == "model" else 400)
    assert error["param"] == param


def test_c16_a_text_may_fill_the_context_and_no_more(http: httpx.Client) -> None:
    assert raw(http, input="x" * 512)[0][0] == 512
    error = error_of(http.post(PATH, json={"input": "x" * 513}), 400)
    assert error["code"] == "context_length_exceeded" and "513 tokens" in error["message"]


def test_a_text_may_be_cut_to_its_first_tokens_as_in_vllm(http: httpx.Client) -> None:
    text = "ab" + "x" * 600 + "yz"
    assert raw(http, input=[text, "z"], truncate_prompt_tokens=2) == [[2, ord("a") + ord("b"), 1], [1, ord("z"), 1]]
    assert raw(http, input=[1, 2, 3, 4], truncate_prompt_tokens=2, truncation_side="right") == [[2, 1 + 2, 1]]
    assert raw(http, input=[text, [1, 2, 3, 4]], truncate_prompt_tokens=2, truncation_side="left") == [
        [2, ord("y") + ord("z"), 1],
        [2, 3 + 4, 1],
    ]
    assert raw(http, input=text, truncate_prompt_tokens=-1) == [[512, ord("a") + ord("b") + 510 * ord("x"), 1]]
    assert http.post(PATH, json={"input": text, "truncate_prompt_tokens": 9}).json()["usage"]["prompt_tokens"] == 9


def test_a_text_that_is_cut_keeps_the_tokens_around_it(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    around = [(text, tokenizer.token_to_id(text)) for text in ("<|im_start|>", "<|im_end|>")]
    tokenizer.post_processor = TemplateProcessing(single="<|im_start|> $A <|im_end|>", special_tokens=around)
    tokenizer.save(str(path / "tokenizer.json"))
    with serving(path, ServerSettings()) as served, served.http() as http:
        assert raw(http, input="abcd", truncate_prompt_tokens=4) == [
            [4, ord("a") + ord("b") + around[0][1] + around[1][1], 1]
        ]
        assert raw(http, input="abcd", truncate_prompt_tokens=2, add_special_tokens=False) == [[2, 97 + 98, 1]]


def test_what_the_engine_fails_at_is_no_fault_of_the_request(http: httpx.Client) -> None:
    error = error_of(http.post(PATH, json={"input": ["a", "@fail"]}), 500)
    assert error["message"] == "the engine failed midway" and error["param"] is None


def test_c33_the_models_own_dimensions_and_the_user_are_harmless(http: httpx.Client) -> None:
    response = http.post(PATH, json={"input": "a", "dimensions": 3, "user": "me", "made_up": 1})
    assert response.status_code == 200 and response.headers["x-llmrt-ignored"] == "made_up"
