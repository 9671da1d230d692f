"""``/api/`` with Ollama's client, against the scripted engine, which answers with the user's message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest
from serving import (
    Served,
    aborted,
    chat,
    content,
    eventually,
    grammar_of,
    running,
    serving,
    write_model,
)
from tool_templates import QWEN, SCHEMA, TOOLS, hermes

from llmrt.config import EngineConfig, ServerSettings

MODEL = "tiny-alias"
DURATIONS = ("total_duration", "prompt_eval_duration", "eval_duration")


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def asked(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": user(text), "stream": False, **fields}


def both(client: ollama.Client, text: str, **fields: Any) -> ollama.ChatResponse:
    """The whole answer, which must be that of the stream."""
    whole = client.chat(MODEL, user(text), **fields)
    *parts, last = client.chat(MODEL, user(text), stream=True, **fields)
    assert not any(part.done for part in parts) and last.done and not last.message.content
    for name in ("content", "thinking"):
        streamed = "".join(getattr(part.message, name) or "" for part in parts)
        assert streamed == (getattr(whole.message, name) or "")
    calls = [call for part in parts for call in part.message.tool_calls or []]
    assert calls == [*(whole.message.tool_calls or [])]
    assert (whole.done_reason, whole.eval_count) == (last.done_reason, last.eval_count)
    check_counts(whole)
    check_counts(last)
    return whole


def check_counts(answer: Any) -> None:
    assert answer.done and answer.model == MODEL and answer.prompt_eval_count and answer.eval_count
    assert all(getattr(answer, name) >= 0 for name in DURATIONS) and answer.load_duration == 0
    assert answer.total_duration >= answer.prompt_eval_duration + answer.eval_duration
    assert datetime.fromisoformat(answer.created_at)


def error_of(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"} and "\n" not in body["error"]
    return body["error"]


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson" and response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


def test_c47_a_chat(llama: ollama.Client) -> None:
    answer = both(llama, "Hé ☃\u2028!")
    assert (answer.message.role, answer.message.content, answer.done_reason) == ("assistant", "Hé ☃\u2028!", "stop")
    assert both(llama, "word " * 9, options={"num_predict": 3}).done_reason == "length"


def test_c47_a_stream_unless_it_is_refused(thinker: httpx.Client) -> None:
    ask = {"model": MODEL, "messages": user("two words")}
    parts = lines(thinker.post("/api/chat", json=ask))
    assert len(parts) > 1 and [part["done"] for part in parts] == [False] * (len(parts) - 1) + [True]
    assert set(parts[0]) == {"model", "created_at", "message", "done"}
    prompt = lines(thinker.post("/api/generate", json={"model": MODEL, "prompt": "two words"}))
    assert "".join(part["response"] for part in prompt) == "two words"


def test_c47_curl_as_ollamas_own_examples_call_it(thinker: httpx.Client) -> None:
    curls = {"content-type": "application/x-www-form-urlencoded"}
    response = thinker.post("/api/chat", content=json.dumps(asked("hi")), headers=curls)
    assert response.status_code == 200 and response.json()["message"]["content"] == "hi"
    foreign = thinker.post("/api/chat", content="{}", headers=curls | {"origin": "https://other.example"})
    assert error_of(foreign, 403)


def test_c47_names_with_a_tag(llama: ollama.Client) -> None:
    (listed,) = llama.list().models
    assert listed.model == f"{MODEL}:latest"
    assert llama.chat(listed.model, user("hi")).message.content == "hi"
    with pytest.raises(ollama.ResponseError, match="not served here") as caught:
        llama.chat("llama3:8b", user("hi"))
    assert caught.value.status_code == 404


def test_c47_nothing_to_answer_asks_for_the_model(llama: ollama.Client) -> None:
    loaded = llama.chat(MODEL, [])
    assert (loaded.message.content, loaded.done, loaded.done_reason) == ("", True, "load")
    assert llama.generate(MODEL, "").done_reason == "load"


def test_c47_generate(llama: ollama.Client) -> None:
    answer = llama.generate(MODEL, "hi")
    assert (answer.response, answer.done_reason) == ("hi", "stop")
    check_counts(answer)
    *parts, last = llama.generate(MODEL, "three more words", stream=True)
    assert "".join(part.response or "" for part in parts) == "three more words" and last.done
    prompt = "<im_start|>system\nS<im_end|>\n<im_start|>user\n@prompt<im_end|>\n<im_start|>assistant\n"
    assert llama.generate(MODEL, "@prompt", system="S").response == prompt
    assert llama.generate(MODEL, "@prompt raw", raw=True).response == "@prompt raw"


def test_c47_a_model_without_a_template_continues_prompts(tmp_path: Path) -> None:
    with serving(write_model(tmp_path / "base", chat=False), ServerSettings()) as served:
        client = ollama.Client(host=served.url)
        assert client.generate(MODEL, "@prompt base").response == "@prompt base"
        assert client.show(MODEL).capabilities == ["completion"]
        with pytest.raises(ollama.ResponseError, match="no chat template"):
            client.chat(MODEL, user("hi"))


def test_c7_c47_calls_come_whole(llama: ollama.Client) -> None:
    answer = both(llama, f"Look. {hermes('f', {'x': 1})}{hermes('g', {'é': '☃'})}", tools=TOOLS)
    calls = answer.message.tool_calls or []
    assert answer.message.content == "Look." and answer.done_reason == "stop"
    assert [(call.function.name, call.function.arguments) for call in calls] == [("f", {"x": 1}), ("g", {"é": "☃"})]
    cut = llama.chat(MODEL, user(hermes("f", {"x": "long " * 9})), tools=TOOLS, options={"num_predict": 60})
    (call,) = cut.message.tool_calls or []
    assert cut.done_reason == "length" and str(call.function.arguments["INVALID_JSON"]).startswith('{"x": "long')


def test_c47_functions_become_tools(llama: ollama.Client) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: The first.
            b: The second.
        """
        return a + b

    prompt = llama.chat(MODEL, user("@prompt"), tools=[add]).message.content or ""
    (shown,) = json.loads(prompt.removeprefix("<im_start|>system\n").partition("<im_end|>")[0])
    assert shown["function"]["name"] == "add" and set(shown["function"]["parameters"]["properties"]) == {"a", "b"}


def test_c28_c47_thoughts(llama: ollama.Client, thinker: httpx.Client) -> None:
    answer = both(llama, "<think>Hm ☃.</think>Yes.")
    assert (answer.message.thinking, answer.message.content) == ("Hm ☃.", "Yes.")
    assert llama.generate(MODEL, "<think>Hm.</think>Yes.").thinking == "Hm."
    ends = {think: llama.chat(MODEL, user("@prompt"), think=think).message.content for think in (None, True, False)}
    assert ends[None] == ends[True] and ends[False] == f"{ends[None]}<think>\n\n</think>\n\n"
    assert "x-llmrt-ignored" not in thinker.post("/api/chat", json=asked("hi", think="high")).headers


def test_c47_a_model_that_cannot_think_says_so(server: Served) -> None:
    client = ollama.Client(host=server.url)
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        client.chat(MODEL, user("hi"), think=True)
    assert client.chat(MODEL, user("hi"), think=False).message.content == "hi"


@pytest.mark.parametrize(
    ("asked_for", "response_format"),
    [
        ("json", {"type": "json_object"}),
        (SCHEMA, {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}),
        ("", None),
    ],
)
def test_c32_c47_formats(llama: ollama.Client, thinker: httpx.Client, asked_for: Any, response_format: Any) -> None:
    expected = grammar_of(thinker, response_format=response_format)
    assert llama.chat(MODEL, user("@grammar"), format=asked_for).message.content == expected
    assert llama.generate(MODEL, "@grammar", format=asked_for).response == expected


def test_c33_c47_options_reach_the_engine(llama: ollama.Client) -> None:
    options: dict[str, Any] = {
        "num_predict": 900,
        "temperature": 0.3,
        "top_k": 9,
        "top_p": 0.7,
        "min_p": 0.1,
        "seed": 5,
        "repeat_penalty": 1.2,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.25,
    }
    params = json.loads(llama.chat(MODEL, user("@params"), options=options).message.content or "")
    names = {"num_predict": "max_tokens", "repeat_penalty": "repetition_penalty"}
    assert {name: params[names.get(name, name)] for name in options} == options
    assert json.loads(llama.generate(MODEL, "@params", options=options).response)["seed"] == 5
    off: dict[str, Any] = {"seed": -1, "num_predict": -1, "repeat_penalty": 1.2, "repeat_last_n": 0}
    params = json.loads(llama.chat(MODEL, user("@params"), options=off).message.content or "")
    assert (params["seed"], params["max_tokens"], params["repetition_penalty"]) == (None, None, 1.0)
    stopped = llama.chat(MODEL, user("one two three"), options={"stop": ["three", "two"]})
    assert stopped.message.content == "one "


def test_c26_c47_what_the_model_reads(llama: ollama.Client) -> None:
    call: Any = {"function": {"name": "f", "arguments": {"x": 1}}}
    messages: list[Mapping[str, Any]] = [
        {"role": "system", "content": "A."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [call, call]},
        {"role": "tool", "content": "sun", "tool_name": "f"},
        {"role": "tool", "content": "rain", "tool_name": "f"},
        {"role": "user", "content": "@prompt"},
    ]
    calls = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>' * 2
    assert llama.chat(MODEL, messages).message.content == (
        "<im_start|>system\nA.<im_end|>\n<im_start|>user\none<im_end|>\n"
        f"<im_start|>assistant\n<think>Hm.</think>{calls}<im_end|>\n"
        "<im_start|>tool\nsun<im_end|>\n<im_start|>tool\nrain<im_end|>\n"
        "<im_start|>user\n@prompt<im_end|>\n<im_start|>assistant\n"
    )


def test_c23_c47_logprobs(llama: ollama.Client) -> None:
    answer = llama.chat(MODEL, user("Hé!"), logprobs=True, top_logprobs=2)
    shown = answer.logprobs or []
    assert "".join(token.token for token in shown[:1]) == "H" and all(len(t.top_logprobs or []) == 2 for t in shown)
    streamed = [
        token for part in llama.chat(MODEL, user("Hé!"), logprobs=True, stream=True) for token in part.logprobs or []
    ]
    assert [token.logprob for token in streamed] == [token.logprob for token in shown]
    raw = llama.generate(MODEL, "Hé!", raw=True, logprobs=True, top_logprobs=1).logprobs or []
    assert len(raw) == len(shown)


def test_c10_c47_embeddings(llama: ollama.Client, thinker: httpx.Client) -> None:
    openai = thinker.post("/v1/embeddings", json={"input": ["one", "two words"]}).json()
    answer = llama.embed(MODEL, ["one", "two words"])
    assert [list(vector) for vector in answer.embeddings] == [record["embedding"] for record in openai["data"]]
    assert answer.prompt_eval_count == openai["usage"]["prompt_tokens"]
    assert [*llama.embed(MODEL, "one").embeddings[0]] == [*answer.embeddings[0]]
    plain = thinker.post("/v1/embeddings", json={"input": "one", "normalize": False}).json()["data"][0]["embedding"]
    assert [*llama.embeddings(MODEL, "one").embedding] == plain
    with pytest.raises(ollama.ResponseError, match="maximum context length"):
        llama.embed(MODEL, "long " * 5000, truncate=False)
    cut, short = llama.embed(MODEL, ["one", "long " * 5000]), llama.embed(MODEL, ["one", "long " * 819 + "l"])
    assert cut.embeddings == short.embeddings and cut.prompt_eval_count == short.prompt_eval_count
    for text, clamped in (("long " * 5000, "input=4096"), ("long " * 819 + "l", None)):
        response = thinker.post("/api/embed", json={"input": text})
        assert response.json()["prompt_eval_count"] == 4096 and response.headers.get("x-llmrt-clamped") == clamped
    response = thinker.post("/api/embed", json={"input": "one", "options": {"num_ctx": 9}})
    assert response.headers["x-llmrt-ignored"] == "options.num_ctx"
    assert error_of(thinker.post("/api/embed", json={"input": "one", "dimensions": 2}), 400).startswith("dimensions")


def test_c43_c47_the_model(llama: ollama.Client, thinker: httpx.Client) -> None:
    (listed,) = llama.list().models
    (loaded,) = llama.ps().models
    shown = llama.show(MODEL)
    assert listed.digest == loaded.digest and len(listed.digest or "") == 64 and loaded.context_length == 4096
    assert shown.capabilities == ["completion", "tools", "thinking"] and shown.template == QWEN
    assert shown.parameters == "temperature 0.6\ntop_p 0.9"
    family = shown.details and shown.details.family
    assert shown.modelinfo and shown.modelinfo[f"{family}.context_length"] == 4096
    assert thinker.post("/api/show", json={"name": f"{MODEL}:latest"}).json()["template"] == QWEN
    version = thinker.get("/api/version").json()["version"]
    assert tuple(map(int, version.split("."))) >= (0, 6, 0)  # how clients read it, and what they ask for


def test_c47_a_model_that_is_served_needs_no_pull(llama: ollama.Client) -> None:
    assert llama.pull(f"{MODEL}:latest").status == "success"
    assert [part.status for part in llama.pull(MODEL, stream=True)] == ["success"]


def test_c43_c47_a_real_models_details(tmp_path: Path) -> None:
    path = write_model(tmp_path / "llama")
    config = {
        "model_type": "llama",
        "vocab_size": 256,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
    }
    (path / "config.json").write_text(json.dumps(config))
    with serving(path, ServerSettings(), EngineConfig(context_length=128, quant="int4")) as served:
        shown = ollama.Client(host=served.url).show(MODEL)
    assert shown.details and shown.modelinfo
    assert (shown.details.family, shown.details.format) == ("llama", "safetensors")
    assert shown.details.quantization_level == "INT4" and shown.details.parameter_size == "0.01M"
    assert shown.modelinfo["llama.context_length"] == 128 and shown.modelinfo["llama.block_count"] == 2


def test_c34_c47_a_client_that_leaves_ends_its_request(llama: ollama.Client, thinker: httpx.Client) -> None:
    before, gone = len(running(thinker)), set(aborted(thinker))
    stream = llama.chat(MODEL, user("@forever"), stream=True)
    assert next(stream).message.content
    assert len(running(thinker)) == before + 1
    stream.close()
    eventually(lambda: len(running(thinker)) == before)
    assert set(aborted(thinker)) - gone


def test_c35_c47_empty_parts_while_nothing_comes(pinging_server: Served, pinged: httpx.Client) -> None:
    parts = ollama.Client(host=pinging_server.url).chat(MODEL, user("@held hi"), stream=True)
    first = next(parts)
    assert first.message.content == "" and not first.done
    assert content(chat(pinged, "@release")) == "released"
    assert "".join(part.message.content or "" for part in parts) == "hi"


def test_c36_c47_a_chat_has_the_prompt_of_the_openai_route(llama: ollama.Client, thinker: httpx.Client) -> None:
    assert llama.chat(MODEL, user("@prompt")).message.content == content(chat(thinker, "@prompt"))
