"""The shape of chat answers and of their streams, seen by the real client and as bytes."""

from __future__ import annotations

import httpx
import openai
import pytest
from serving import PATIENCE, Served, chat, content, eventually, records, streamed_text

from llmrt import __version__

HELLO = [{"role": "user", "content": "hello the ☃ world"}]


def test_c1_completion_has_every_field(client: openai.OpenAI, http: httpx.Client) -> None:
    completion = client.chat.completions.create(model="tiny-alias", messages=HELLO)
    assert completion.id.startswith("chatcmpl-") and completion.object == "chat.completion"
    assert completion.model == "tiny-alias" and isinstance(completion.created, int)
    (choice,) = completion.choices
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "stop", "assistant")
    assert choice.message.content == "hello the ☃ world"
    message = chat(http, "hi").json()["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "hi", "refusal": None}


def test_c2_c3_c4_chunks(client: openai.OpenAI, http: httpx.Client) -> None:
    chunks = [*client.chat.completions.create(model="tiny-alias", messages=HELLO, stream=True)]
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    raw = records(chat(http, "hello the ☃ world", stream=True))
    assert all(len(record["choices"]) == 1 for record in raw)
    deltas = [record["choices"][0]["delta"] for record in raw]
    reasons = [record["choices"][0]["finish_reason"] for record in raw]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert all(set(delta) == {"content"} and delta["content"] for delta in deltas[1:-1])
    assert deltas[-1] == {}
    assert reasons == [None] * (len(raw) - 1) + ["stop"]


def test_c5_framing(http: httpx.Client) -> None:
    response = chat(http, "hello", stream=True)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    body = response.content
    assert body.endswith(b"\n\ndata: [DONE]\n\n") and body.count(b"[DONE]") == 1
    assert all(event.startswith((b"data: {", b": ping")) for event in body.split(b"\n\n")[:-2])


def test_c5_lines_survive_clients_that_split_at_unicode_line_breaks(http: httpx.Client) -> None:
    text = "a\u2028b\u2029c\u0085d\x1ee\x0bf\r\ng"
    response = chat(http, text, stream=True)
    assert all(line.startswith(("data: ", ": ping")) for line in response.text.splitlines() if line)
    assert streamed_text(response) == text


def test_c13_usage_chunk_only_when_asked(http: httpx.Client) -> None:
    for fields in ({}, {"stream_options": None}, {"stream_options": {"include_usage": False}}):
        plain = records(chat(http, "hello", stream=True, **fields))
        assert not any("usage" in record for record in plain)
    *chunks, last = records(chat(http, "hello", stream=True, stream_options={"include_usage": True}))
    assert all(record["usage"] is None and record["choices"] for record in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == 2


def test_c14_usage_counts_the_templated_prompt(http: httpx.Client) -> None:
    asked = {"temperature": 0, "return_token_ids": True}
    cold, warm = (chat(http, "count these tokens", **asked).json() for _ in range(2))
    num_prompt = len(cold["prompt_token_ids"])
    num_completion = len(cold["choices"][0]["token_ids"])
    assert cold["usage"] == {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_completion,
        "total_tokens": num_prompt + num_completion,
        "prompt_tokens_details": {"cached_tokens": 0, "disk_tokens": 0, "diverged_at": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    assert warm["usage"]["prompt_tokens_details"]["cached_tokens"] == num_prompt - 1


def test_usage_says_what_came_from_disk_and_where_the_prompt_departed(http: httpx.Client) -> None:
    fresh, again = (chat(http, "say this twice").json()["usage"]["prompt_tokens_details"] for _ in range(2))
    assert (fresh["disk_tokens"], fresh["diverged_at"]) == (0, 0)
    assert (again["disk_tokens"], again["diverged_at"]) == (again["cached_tokens"] // 2, None)
    body = {"prompt": ["these are", "several prompts"]}
    several = http.post("/v1/completions", json=body).json()["usage"]["prompt_tokens_details"]
    assert several == {"cached_tokens": 0, "disk_tokens": 0}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 3}, 3),
        ({"max_completion_tokens": 4}, 4),
        ({"max_completion_tokens": 2, "max_tokens": 9}, 2),
        ({"max_tokens": None, "max_completion_tokens": 5}, 5),
    ],
)
def test_c15_both_names_of_max_tokens(http: httpx.Client, fields: dict[str, int], expected: int) -> None:
    answer = chat(http, "@fill", **fields).json()
    assert answer["usage"]["completion_tokens"] == expected
    assert answer["choices"][0]["finish_reason"] == "length"


def test_c18_the_answer_is_clamped_to_the_context_and_says_so(http: httpx.Client) -> None:
    response = chat(http, "@fill", max_tokens=100_000)
    usage = response.json()["usage"]
    assert usage["total_tokens"] == 512
    assert response.json()["choices"][0]["finish_reason"] == "length"
    assert response.headers["x-llmrt-clamped"] == f"max_tokens={usage['completion_tokens']}"
    stream = chat(http, "@fill", max_tokens=100_000, stream=True)
    assert stream.headers["x-llmrt-clamped"] == response.headers["x-llmrt-clamped"]
    assert "x-llmrt-clamped" not in chat(http, "hi", max_tokens=5).headers
    assert chat(http, "@fill").json()["usage"]["total_tokens"] == 512
    assert "x-llmrt-clamped" not in chat(http, "hi").headers


def test_c22_characters_split_over_tokens_are_never_broken(http: httpx.Client) -> None:
    text = "é ☃ 🦙 한국어 é"
    for record in records(chat(http, text, stream=True)):
        assert "\ufffd" not in record["choices"][0]["delta"].get("content", "")
    assert streamed_text(chat(http, text, stream=True)) == content(chat(http, text)) == text


def test_c22_an_invalid_tail_is_flushed_at_the_end(http: httpx.Client) -> None:
    order = "@bytes 61 e2 98"
    assert content(chat(http, order)) == streamed_text(chat(http, order, stream=True)) == "a\ufffd"
    cut = chat(http, "a☃", max_tokens=2, stream=True)
    assert streamed_text(cut) == "a\ufffd"


def test_c24_choices_interleave_with_seeds_of_their_own(http: httpx.Client) -> None:
    fields = {"n": 3, "seed": 7}
    whole = chat(http, "@random", **fields).json()
    texts = [choice["message"]["content"] for choice in whole["choices"]]
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert len(set(texts)) == 3 and texts[1] == content(chat(http, "@random", seed=8))
    stream = chat(http, "@random", stream=True, stream_options={"include_usage": True}, **fields)
    assert [streamed_text(stream, index) for index in range(3)] == texts
    *chunks, last = records(stream)
    order = [record["choices"][0]["index"] for record in chunks]
    assert order != sorted(order)
    roles = [r["choices"][0]["index"] for r in chunks if "role" in r["choices"][0]["delta"]]
    assert sorted(roles) == [0, 1, 2]
    prompt_tokens = whole["usage"]["prompt_tokens"]
    assert whole["usage"]["completion_tokens"] > len(texts[0])
    assert last["usage"] | {"prompt_tokens_details": None} == whole["usage"] | {"prompt_tokens_details": None}
    assert whole["usage"]["total_tokens"] == prompt_tokens + whole["usage"]["completion_tokens"]


def test_c36_a_seed_repeats_the_answer(http: httpx.Client) -> None:
    first, second = (chat(http, "@random", seed=11).json() for _ in range(2))
    assert first["choices"][0]["message"] == second["choices"][0]["message"]
    assert first["system_fingerprint"] == second["system_fingerprint"]
    assert content(chat(http, "@random", seed=-(2**63))) == content(chat(http, "@random", seed=0))


def test_c43_models(client: openai.OpenAI, http: httpx.Client) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object, model.owned_by) == ("tiny-alias", "model", "llmrt")
    assert client.models.retrieve("tiny-alias") == client.models.retrieve("tiny-chat") == model
    raw = http.get("/v1/models").json()["data"][0]
    assert raw["max_model_len"] == raw["context_length"] == 512


def test_c44_request_id_is_echoed_or_made(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "llmrt.server")
    assert http.get("/v1/models", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    eventually(lambda: "mine-1 127.0.0.1 GET /v1/models 200" in caplog.text)
    made = [http.get("/health").headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    unsafe = http.get("/health", headers={"x-request-id": "two words"})
    assert unsafe.headers["x-request-id"].startswith("req_")
    assert chat(http, "hi", stream=True).headers["x-request-id"]
    assert http.get("/nowhere").headers["x-request-id"]


def test_token_ids_are_returned_when_asked(http: httpx.Client) -> None:
    whole = chat(http, "hello", return_token_ids=True).json()
    first, *rest = records(chat(http, "hello", return_token_ids=True, stream=True))
    assert first["prompt_token_ids"] == whole["prompt_token_ids"]
    assert not any("prompt_token_ids" in record for record in rest)
    streamed = [i for record in rest for i in record["choices"][0]["token_ids"]]
    assert streamed == whole["choices"][0]["token_ids"]
    assert "token_ids" not in chat(http, "hello").text


def test_a_kept_alive_connection_serves_after_a_stream(server: Served) -> None:
    with httpx.Client(base_url=server.url, limits=httpx.Limits(max_connections=1), timeout=PATIENCE) as client:
        for _ in range(3):
            assert streamed_text(chat(client, "hello", stream=True)) == "hello"
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/version").json() == {"version": __version__}
