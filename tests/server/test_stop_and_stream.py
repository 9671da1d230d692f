"""Stop strings, and that a stream says what the whole answer says."""

from __future__ import annotations

import random

import httpx
import pytest
from serving import aborted, chat, content, records, streamed_text


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one STOP two", "STOP", "one "),
        ("one STOP two", ["STOP"], "one "),
        ("one STOP two", ["zzz", "two", "STOP", "OP", "one STOP twoo"], "one "),
        ("STOP at once", "STOP", ""),
        ("SSTOP", "STOP", "S"),
        ("STO", "STOP", "STO"),
        ("aSTaSTOaSTO", "STOP", "aSTaSTOaSTO"),
        ("snow ☃ man", "☃", "snow "),
        ("no such thing", [], "no such thing"),
    ],
)
def test_c21_stop_strings(http: httpx.Client, text: str, stop: str | list[str], expected: str) -> None:
    whole = chat(http, text, stop=stop)
    assert content(whole) == expected
    assert whole.json()["choices"][0]["finish_reason"] == "stop"
    assert streamed_text(chat(http, text, stop=stop, stream=True)) == expected
    completion = http.post("/v1/completions", json={"prompt": text, "stop": stop, "max_tokens": 50})
    assert completion.json()["choices"][0]["text"] == expected


def test_c21_a_withheld_tail_is_released_when_the_answer_ends_by_length(http: httpx.Client) -> None:
    fields = {"stop": "abcdef", "max_tokens": 4}
    assert content(chat(http, "abcdxyz", **fields)) == "abcd"
    stream = chat(http, "abcdxyz", stream=True, **fields)
    assert streamed_text(stream) == "abcd"
    assert records(stream)[-1]["choices"][0]["finish_reason"] == "length"


def test_stop_reason_is_the_string_that_ended_the_answer(http: httpx.Client) -> None:
    for text, expected in (("one two", "two"), ("one STOP two", "STOP"), ("neither", None)):
        fields = {"stop": ["STOP", "two"]}
        assert chat(http, text, **fields).json()["choices"][0]["stop_reason"] == expected
        reasons = [record["choices"][0]["stop_reason"] for record in records(chat(http, text, stream=True, **fields))]
        assert reasons == [None] * (len(reasons) - 1) + [expected]
        completion = http.post("/v1/completions", json={"prompt": text, **fields}).json()
        assert completion["choices"][0]["stop_reason"] == expected


def test_c21_the_engine_stops_at_the_match(http: httpx.Client) -> None:
    whole = chat(http, "@forever", stop="spam sp")
    assert content(whole) == ""
    assert aborted(http)[-1].startswith(whole.json()["id"])
    streams = chat(http, "@forever", stop="am spam", n=3, stream=True)
    assert [streamed_text(streams, index) for index in range(3)] == ["sp"] * 3


def test_stop_token_ids_end_the_answer_and_are_no_part_of_it(http: httpx.Client) -> None:
    answer = chat(http, "one!two", stop_token_ids=[ord("!")], return_token_ids=True).json()["choices"][0]
    assert (answer["message"]["content"], answer["finish_reason"]) == ("one", "stop")
    assert answer["token_ids"] == [*b"one!"]


@pytest.mark.parametrize(("stop", "expected"), [(["STOP"], "one STOP"), (["P", "STO"], "one STO"), ([], "one STOP!")])
def test_what_ends_the_answer_is_part_of_it_if_asked_for(http: httpx.Client, stop: list[str], expected: str) -> None:
    """As in vLLM: stop strings, and stop tokens that have a text."""
    fields = {"stop": stop, "stop_token_ids": [ord("!")], "include_stop_str_in_output": True, "logprobs": True}
    whole = chat(http, "one STOP! two", **fields).json()["choices"][0]
    assert (whole["message"]["content"], whole["finish_reason"]) == (expected, "stop")
    assert "".join(token["token"] for token in whole["logprobs"]["content"]) == expected
    assert streamed_text(chat(http, "one STOP! two", stream=True, **fields)) == expected
    body = {"prompt": "one STOP! two", **fields, "logprobs": 1}
    assert http.post("/v1/completions", json=body).json()["choices"][0]["text"] == expected
    assert content(chat(http, "neither", **fields)) == "neither"  # its end token has none


def test_ignore_eos_goes_on(http: httpx.Client) -> None:
    answer = chat(http, "abc", ignore_eos=True, max_tokens=10).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["choices"][0]["message"]["content"] == "abcabcab"  # the end tokens between have no text
    assert answer["usage"]["completion_tokens"] == 10


def test_joined_stream_is_the_whole_answer(http: httpx.Client) -> None:
    """Random bytes, valid or not, with random stops and lengths; the seed cuts the engine's steps differently."""
    rng = random.Random(5)
    alphabet = [*b"abcSTOP ", *"é☃🦙".encode(), 0x80, 0xFF, 0x0A]
    for _ in range(30):
        data = bytes(rng.choices(alphabet, k=rng.randint(0, 25)))
        fields = {
            "stop": rng.sample(["STOP", "ab", "T", "é", "aaa", "PP"], k=rng.randint(0, 3)),
            "max_tokens": rng.randint(1, 30),
            "logprobs": rng.random() < 0.5,
        }
        whole = chat(http, f"@bytes {data.hex()}", seed=rng.randint(0, 99), **fields)
        stream = chat(http, f"@bytes {data.hex()}", seed=rng.randint(0, 99), stream=True, **fields)
        assert streamed_text(stream) == content(whole), (data, fields)
        last = records(stream)[-1]["choices"][0]
        assert last["finish_reason"] == whole.json()["choices"][0]["finish_reason"]


def test_c45_no_empty_deltas_and_no_empty_events(http: httpx.Client) -> None:
    for text in ("hello ☃", "", "aSTOSTOb"):
        stream = chat(http, text, stream=True, stop="STOP")
        deltas = [record["choices"][0]["delta"] for record in records(stream)]
        assert all(delta.get("content") for delta in deltas[1:-1])
        assert "data: \n" not in stream.text and "data:\n" not in stream.text
