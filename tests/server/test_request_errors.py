"""Every fault of a client is a 4xx that names the field, and is sent once."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx
import openai
import pytest
from serving import Served, chat, content, error_of

from llmrt.server.extra_fields import UNSUPPORTED
from llmrt.server.schemas import ChatBody, CompletionBody

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "hi"}]

HARMLESS: dict[str, Any] = {
    "store": True,
    "metadata": {"a": "b"},
    "user": "me",
    "service_tier": "auto",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "verbosity": "low",
    "parallel_tool_calls": True,
    "prediction": {"type": "content", "content": "x"},
    "tools": [],
    "tool_choice": "none",
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "logit_bias": None,
    "stop": None,
    "audio": None,
}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "0.5"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"min_p": 2}, "min_p"),
        ({"top_k": -2}, "top_k"),
        ({"top_k": 10**6}, "top_k"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"presence_penalty": -3}, "presence_penalty"),
        ({"n": 0}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": 129}, "n"),
        ({"n": 17}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logit_bias": {"5": 10**400}}, "logit_bias"),
        ({"logit_bias": [["x" * 257, 1]]}, "logit_bias"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"seed": "x"}, "seed"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": ["a", 1]}, "stop"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a"] * 1025}, "stop"),
        ({"stop_token_ids": [10**6]}, "stop_token_ids"),
        ({"stop_token_ids": "a"}, "stop_token_ids"),
        ({"stream": "yes"}, "stream"),
        ({"stream": None, "stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"logprobs": 3}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        ({"logprobs": False, "top_logprobs": 2}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"99999": 1}}, "logit_bias"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"logit_bias": {"5": "1"}}, "logit_bias"),
        ({"logit_bias": [5]}, "logit_bias"),
        ({"logit_bias": [[5, 1, 2]]}, "logit_bias"),
        ({"logit_bias": [[5, True]]}, "logit_bias"),
        ({"logit_bias": [[True, 1]]}, "logit_bias"),
        ({"logit_bias": [[99999, False]]}, "logit_bias"),
        ({"logit_bias": {"5": False}}, "logit_bias"),
        ({"allowed_token_ids": []}, "allowed_token_ids"),
        ({"allowed_token_ids": [5, -1]}, "allowed_token_ids"),
        ({"bad_words": "no"}, "bad_words"),
        ({"bad_words": [""]}, "bad_words[0]"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{}]}, "messages[0].role"),
        ({"messages": [{"role": 3, "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"audio": {"voice": "a", "format": "mp3"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"best_of": 2}, "best_of"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens"),
    ],
)
def test_c38_c39_faults_name_their_field(http: httpx.Client, fields: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        response = http.post(CHAT, json={"messages": USER, "stream": stream, **fields})
        error = error_of(response, 400)
        assert (error["param"], error["type"]) == (param, "invalid_request_error")
        assert "x-should-retry" not in response.headers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe{}",
        b'{"messages": [{"role": "user", "content": "\xe9"}]}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b"[" * 5000,
        '{"messages": []}'.encode("utf-16"),
    ],
)
def test_c39_bodies_that_are_no_json_object(http: httpx.Client, body: bytes) -> None:
    for path in (CHAT, "/v1/completions"):
        error = error_of(http.post(path, content=body, headers={"content-type": "application/json"}), 400)
        assert error["code"] in ("invalid_json", "invalid_body")


def test_c39_not_a_number(http: httpx.Client) -> None:
    body = json.dumps({"messages": USER, "temperature": float("nan")}).encode()
    assert error_of(http.post(CHAT, content=body), 400)["param"] == "temperature"


def test_c39_content_type_method_and_path(http: httpx.Client) -> None:
    body = json.dumps({"messages": USER}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        error = error_of(http.post(CHAT, content=body, headers={"content-type": kind}), 415)
        assert "-H content-type:application/json" in error["message"]  # what curl -d lacks
    for kind in ("application/json; charset=utf-8", "application/vnd.api+json", "Application/JSON"):
        assert http.post(CHAT, content=body, headers={"content-type": kind}).status_code == 200
    assert http.post(CHAT, content=body).status_code == 200
    error = error_of(http.get(CHAT), 405)
    assert error["code"] == "method_not_allowed" and error["message"].endswith("the path takes POST.")
    assert error_of(http.delete("/v1/models"), 405)
    assert error_of(http.get("/v1/nothing"), 404)["code"] == "unknown_url"
    assert error_of(http.post("/nothing"), 404)
    assert error_of(http.post(f"{CHAT}/", content=body), 404)["code"] == "unknown_url"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", CHAT),
        ("/models", "/v1/models"),
        (f"{CHAT}/", CHAT),
        (f"/v1{CHAT}", CHAT),
        (f"/openai{CHAT}", CHAT),
        ("/v1/api/version", "/api/version"),  # not /version
        ("/v1/chat/completion", CHAT),
        ("/completion", "/v1/completions"),
        ("/props", "/v1/models"),
        ("/ping", "/health"),
    ],
)
def test_a_path_that_is_almost_one_of_the_server_says_which(http: httpx.Client, path: str, meant: str) -> None:
    assert error_of(http.post(path, json={}), 404)["message"].endswith(f"{path}; did you mean {meant}?")


@pytest.mark.parametrize("path", ["/v1", "/v1/rerank", "/robots.txt", "/wp-login.php", "/" + "x" * 5000])
def test_a_path_that_is_like_none_has_no_advice(http: httpx.Client, path: str) -> None:
    assert "did you mean" not in error_of(http.post(path, json={}), 404)["message"]


def test_a_client_without_v1_in_its_address_is_told(client: openai.OpenAI) -> None:
    with (
        openai.OpenAI(base_url=str(client.base_url).removesuffix("v1/"), api_key="none", max_retries=0) as lost,
        pytest.raises(openai.NotFoundError, match="did you mean /v1/chat/completions"),
    ):
        lost.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("temprature", "temperature"),
        ("temparature", "temperature"),
        ("temperatuer", "temperature"),
        ("etmperature", "temperature"),
        ("max_token", "max_tokens"),
        ("max_tokans", "max_tokens"),
        ("max__tokens", "max_tokens"),
        ("top_logprob", "top_logprobs"),
        ("topp", "top_p"),
        ("seeds", "seed"),
    ],
)
def test_a_misspelt_field_is_not_left_aside(http: httpx.Client, typed: str, meant: str) -> None:
    error = error_of(http.post(CHAT, json={"messages": USER, typed: 1}), 400)
    assert error["param"] == typed and error["message"].endswith(f"did you mean {meant}?")


def test_a_field_that_is_only_like_one_of_ours_is_left_aside(http: httpx.Client) -> None:
    for field in ("models", "mode", "speed", "chat_template_args", "maxTokens", "k"):  # OpenRouter's and others'
        response = chat(http, "hi", **{field: 0})
        assert content(response) == "hi" and response.headers["x-llmrt-ignored"] == field
    for field in ("normalized", "dimension"):
        response = http.post("/v1/embeddings", json={"input": "hi", field: 1})
        assert response.status_code == 200 and response.headers["x-llmrt-ignored"] == field


def test_a_field_of_another_server_says_what_it_is_called_here(http: httpx.Client) -> None:
    for field, name in (
        ({"n_predict": 5}, "max_tokens"),
        ({"max_new_tokens": 5}, "max_tokens"),
        ({"repeat_penalty": 1.1}, "repetition_penalty"),
        ({"stop_sequences": ["x"]}, "stop"),
    ):
        error = error_of(http.post(CHAT, json={"messages": USER, **field}), 400)
        assert [error["param"]] == [*field] and name in error["message"]


def test_a_field_may_go_by_the_name_of_another_server_too(http: httpx.Client) -> None:
    """SillyTavern sends one limit under the names of several servers."""
    limits = dict.fromkeys(("max_tokens", "max_new_tokens", "n_predict", "num_predict"), 2)
    response = chat(http, "word " * 9, **limits, repetition_penalty=1.1, repeat_penalty=1.1)
    assert response.status_code == 200 and "x-llmrt-ignored" not in response.headers
    assert response.json()["usage"]["completion_tokens"] == 2
    for field in ("max_new_tokens", "repeat_penalty"):
        error = error_of(chat(http, "hi", max_tokens=2, repetition_penalty=1.1, **{field: 3}), 400)
        assert error["param"] == field


def test_c8_no_body_is_a_fault_of_the_server(http: httpx.Client) -> None:
    """Every field with values of every kind, in both routes: an answer or a 400 that names a field."""
    rng = random.Random(0)
    values: list[Any] = [None, True, -1, 0, 1, 2.5, 10**30, -(10**400), 1e308, "", "x", "5", [], ["x"], [1], [[2]]]
    values += [{}, {"5": 1}, {"self": 1}, {"type": "text"}, [{}], [{"role": "user", "content": "hi"}], "\u0000"]
    names = sorted({*ChatBody.model_fields, *CompletionBody.model_fields, *UNSUPPORTED, "content", "role"})
    for _ in range(250):
        body: dict[str, Any] = {"messages": USER, "prompt": "hi", "max_tokens": 2}
        message: dict[str, Any] = {"role": "user", "content": "hi"}
        for name in rng.sample(names, k=2):
            (message if name in ("content", "role") else body)[name] = rng.choice(values)
        body["messages"] = body["messages"] if body["messages"] != USER else [message]
        path = rng.choice([CHAT, "/v1/completions"])
        response = http.post(path, json=body)
        if response.status_code != 200:
            assert response.status_code in (400, 404), (body, response.text)
            assert error_of(response, response.status_code)["param"], (body, response.text)


@pytest.mark.parametrize("stream", [False, True])
def test_c16_context_overflow_before_any_bytes(client: openai.OpenAI, stream: bool) -> None:
    messages: Any = [{"role": "user", "content": "x" * 600}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny-alias", messages=messages, stream=stream)
    error: Any = caught.value
    assert (error.type, error.param, error.code) == (
        "invalid_request_error",
        "messages",
        "context_length_exceeded",
    )
    assert "maximum context length is 512 tokens" in error.message
    assert "resulted in 619 tokens" in error.message


def test_c17_the_longest_prompt_that_fits_is_answered_whole(http: httpx.Client) -> None:
    overhead = chat(http, "x", max_tokens=1).json()["usage"]["prompt_tokens"] - 1
    fits = chat(http, "x" * (511 - overhead)).json()
    assert fits["usage"]["prompt_tokens"] == 511 and fits["choices"][0]["finish_reason"] == "length"
    error_of(chat(http, "x" * (512 - overhead)), 400)


def test_c19_unknown_model(client: openai.OpenAI, http: httpx.Client) -> None:
    messages: Any = USER
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4", messages=messages)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")
    for name in ("tiny-alias", "tiny-chat", None):
        answer = chat(http, "hi", model=name)
        assert answer.json()["model"] == "tiny-alias"


def test_c8_c9_a_bad_request_is_sent_once(server: Served) -> None:
    sent: list[httpx.Request] = []
    requests: Any = openai.DefaultHttpxClient(event_hooks={"request": [sent.append]})
    messages: Any = USER
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", http_client=requests)
    with client, pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="tiny-alias", messages=messages, temperature=9)
    assert len(sent) == 1


def test_c33_harmless_fields_change_nothing(http: httpx.Client) -> None:
    response = chat(http, "hi", **HARMLESS)
    assert content(response) == "hi" and "x-llmrt-ignored" not in response.headers


def test_c33_other_unknown_fields_are_named_in_a_header(http: httpx.Client) -> None:
    response = chat(http, "hi", reasoning_effort="low", **{"made up\r\nx: y": 1})
    assert content(response) == "hi"
    assert response.headers["x-llmrt-ignored"] == "reasoning_effort, made?up??x??y"
    many = chat(http, "hi", **{f"field{i}": i for i in range(30)})
    assert many.headers["x-llmrt-ignored"].endswith("field19, and 10 more")


def test_c33_unknown_fields_of_inner_objects_are_named_too(http: httpx.Client) -> None:
    function = {"name": "f", "returns": {"type": "string"}}
    tools = [{"type": "function", "function": function, "cache_control": {"type": "ephemeral"}}]
    response = chat(http, "hi", tools=tools, stream_options={"include_obfuscation": False, "often": True}, stream=True)
    names = {"stream_options.often", "tools.0.cache_control", "tools.0.function.returns"}
    assert {*response.headers["x-llmrt-ignored"].split(", ")} == names


def test_c11_the_engine_refuses_or_fails(client: openai.OpenAI, http: httpx.Client) -> None:
    assert error_of(chat(http, "@reject"), 400)["message"] == "the engine refuses this"
    failed = chat(http, "@fail")
    assert error_of(failed, 500)["message"] == "the engine failed midway"
    assert failed.headers["x-should-retry"] == "false"
    messages: Any = [{"role": "user", "content": "@fail"}]
    stream = client.chat.completions.create(model="tiny-alias", messages=messages, stream=True)
    with pytest.raises(openai.APIError, match="the engine failed midway"):
        for _ in stream:
            pass
    raw = chat(http, "@reject", stream=True)
    assert raw.status_code == 200 and "[DONE]" not in raw.text
    error = json.loads(raw.text.strip().removeprefix("data: "))["error"]
    assert error["message"] == "the engine refuses this"


def test_c11_fields_that_contradict_each_other_midway_are_the_requests_fault(http: httpx.Client) -> None:
    failed = error_of(chat(http, "@contradict"), 400)
    (*_, event) = chat(http, "@contradict", stream=True).text.strip().split("\n\n")
    for error in (failed, json.loads(event.removeprefix("data: "))["error"]):
        assert (error["message"], error["type"]) == ("no token is left", "invalid_request_error")


def test_c33_a_field_without_a_name_is_named_too(http: httpx.Client) -> None:
    """A header's value must not end with a space."""
    assert chat(http, "hi", **{"new": 1, "": 2}).headers["x-llmrt-ignored"] == "new, ?"
