"""Prompts in tokens and in text, under the names of vLLM and of llama.cpp."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from serving import CHATML, chat, content, error_of

USER = [{"role": "user", "content": "hello ☃"}]


def post(http: httpx.Client, path: str, body: Any) -> Any:
    response = http.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_text_and_back(http: httpx.Client) -> None:
    for text in ("hello the ☃", "", "<|im_end|>", "\x00"):
        answer = post(http, "/tokenize", {"prompt": text, "model": "tiny-alias"})
        assert answer["count"] == len(answer["tokens"]) and answer["max_model_len"] == 512
        assert answer["token_strs"] is None
        back = post(http, "/detokenize", {"tokens": answer["tokens"]})
        assert back == {"prompt": text, "content": text}
        assert post(http, "/tokenize", {"content": text})["tokens"] == answer["tokens"]


def test_the_tokenizer_is_told_as_its_configuration_says(http: httpx.Client) -> None:
    info = http.get("/tokenizer_info").json()
    assert info.pop("chat_template") == CHATML and info.pop("eos_token") == "<|im_end|>"
    assert info == {"bos_token": None, "pad_token": None, "unk_token": None}
    assert error_of(http.get("/tokenizer_info", params={"model": "other"}), 404)["code"] == "model_not_found"


def test_token_strs_are_the_vocabularys(http: httpx.Client) -> None:
    answer = post(http, "/tokenize", {"prompt": "hello wë", "return_token_strs": True})
    assert answer["token_strs"] == ["hello", "Ġw", "Ã", "«"]


def test_parse_special_false_reads_names_as_text(http: httpx.Client) -> None:
    named, plain = ({"content": "<|im_end|>", "parse_special": flag} for flag in (True, False))
    assert post(http, "/tokenize", named)["count"] == 1
    assert post(http, "/tokenize", plain)["tokens"] == [*b"<|im_end|>"]


@pytest.mark.parametrize("last", [[], [{"role": "assistant", "content": "so"}]])
def test_a_conversation_is_what_chat_answers(http: httpx.Client, last: list[dict[str, str]]) -> None:
    body = {"messages": [*USER, *last], "chat_template_kwargs": {"opening": "<"}}
    text = post(http, "/apply-template", body)["prompt"]
    tokens = post(http, "/tokenize", body)["tokens"]
    assert tokens == post(http, "/tokenize", {"prompt": text, "add_special_tokens": False})["tokens"]
    asked = http.post("/v1/chat/completions", json={**body, "return_token_ids": True}).json()
    assert asked["prompt_token_ids"] == tokens
    assert text.endswith("assistant\nso" if last else "assistant\n<")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "content": "a"}, "prompt"),
        ("/tokenize", {"prompt": 5}, "prompt"),
        ("/tokenize", {"prompt": "a", "with_pieces": True}, "with_pieces"),
        ("/tokenize", {"messages": [{"role": "user"}]}, "messages[0].content"),
        ("/tokenize", {"messages": []}, "messages"),
        ("/tokenize", {"messages": USER, "chat_template": "{{ messages }}"}, "chat_template"),
        ("/tokenize", {"prompt": "a", "model": "other"}, "model"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": [10**6]}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens"),
        ("/apply-template", {"messages": [{"role": "owl", "content": "hu"}]}, "messages"),
        ("/apply-template", {"messages": [{"role": "asistant", "content": "hu"}]}, "messages[0].role"),
    ],
)
def test_c39_faults_name_their_field(http: httpx.Client, path: str, body: Any, param: str) -> None:
    status = 404 if param == "model" else 400
    assert error_of(http.post(path, json=body), status)["param"] == param


def test_c33_what_has_no_effect_is_named(http: httpx.Client) -> None:
    for path, body in (
        ("/tokenize", {"prompt": "a"}),
        ("/tokenize", {"messages": USER}),
        ("/detokenize", {"tokens": []}),
    ):
        assert http.post(path, json={**body, "made_up": 1}).headers["x-llmrt-ignored"] == "made_up"
    for path in ("/tokenize", "/apply-template"):
        body = {"messages": USER, "chat_template_kwargs": {"made_up": 1}, "reasoning_effort": "high"}
        ignored = http.post(path, json=body).headers["x-llmrt-ignored"]
        assert ignored == "chat_template_kwargs.made_up, reasoning_effort"


def test_messages_are_not_changed_by_being_counted(http: httpx.Client) -> None:
    order = [{"role": "user", "content": "@prompt"}]
    text = post(http, "/apply-template", {"messages": order})["prompt"]
    assert content(chat(http, "@prompt")) == text.replace("<|", "<")
