"""What Ollama's ``/api/`` refuses, in its form, and what it names in headers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest
from test_ollama import MODEL, asked, error_of, lines, user

from llmrt.server.dialects.ollama.body import OllamaChatBody, seconds_of


def test_c6_c47_what_has_no_effect_is_named(thinker: httpx.Client) -> None:
    fields = {"new_field": 1, "options": {"num_gpu": 1, "num_ctx": 2048, "repeat_last_n": 64}}
    for path, ask in (("chat", asked("hi")), ("generate", {"prompt": "hi", "stream": False})):
        response = thinker.post(f"/api/{path}", json={**ask, **fields})
        expected = "new_field, options.num_gpu, options.num_ctx, options.repeat_last_n"
        assert response.status_code == 200 and response.headers["x-llmrt-ignored"] == expected
    clamped = thinker.post("/api/chat", json=asked("hi", options={"num_predict": 100_000, "num_ctx": 4096}))
    assert clamped.headers["x-llmrt-clamped"].startswith("options.num_predict=40")
    assert "x-llmrt-ignored" not in clamped.headers


@pytest.mark.parametrize(
    ("keep_alive", "seconds"),
    [
        *[(0, 0), ("0", 0), (300, 300), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400), ("250ms", 0.25)],
        *[(-1, math.inf), ("-1", math.inf), ("-1m", math.inf)],
    ],
)
def test_c47_keep_alive_has_many_forms(keep_alive: Any, seconds: float) -> None:
    body = OllamaChatBody.model_validate({"keep_alive": keep_alive})
    assert body.keep_alive is not None and seconds_of(body.keep_alive) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]}, "messages[0].images"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [5]}, {"role": "user", "content": "x"}]},
            "messages[0].tool",
        ),
        ({"messages": {}}, "messages"),
        ({"keep_alive": "soon"}, "keep_alive"),
        ({"format": "xml"}, "format"),
        ({"format": {"type": "object", "not": {}}}, "format"),
        ({"options": {"num_predict": 0}}, "options.num_predict"),
        ({"options": {"temperature": 3}}, "options.temperature"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"top_p": 0}}, "options.top_p"),
        ({"options": {"repeat_penalty": -1}}, "options.repeat_penalty"),
        ({"options": {"mirostat": 1}}, "options.mirostat"),
        ({"options": {"stop": [""]}}, "options.stop"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ],
)
def test_c39_c47_faults_name_their_field(thinker: httpx.Client, fields: dict[str, Any], name: str) -> None:
    for stream in (False, True):
        error = error_of(thinker.post("/api/chat", json=asked("hi") | {"stream": stream} | fields), 400)
        assert error.startswith(name), error


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"suffix": "end"}, "suffix needs a model that fills gaps"),
        ({"suffix": "end", "system": "S"}, "system cannot go with suffix"),
        ({"template": "{{ .Prompt }}"}, "template"),
        ({"context": [1, 2]}, "context"),
        ({"images": ["aGk="]}, "images"),
        ({"raw": True, "system": "S"}, "system"),
    ],
)
def test_c39_c47_what_generate_cannot_do(thinker: httpx.Client, fields: dict[str, Any], name: str) -> None:
    assert error_of(thinker.post("/api/generate", json={"prompt": "hi", **fields}), 400).startswith(name)


def test_c33_c47_a_larger_context_than_the_servers_is_asked_for_in_vain(thinker: httpx.Client) -> None:
    response = thinker.post("/api/chat", json=asked("hi", options={"num_ctx": 32768}))
    assert response.status_code == 200 and response.headers["x-llmrt-ignored"] == "options.num_ctx"
    error_of(thinker.post("/api/chat", json=asked("long " * 4096, options={"num_ctx": 32768})), 400)


def test_c47_what_would_change_the_models(llama: ollama.Client, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"weights")
    for call in (
        lambda: llama.pull("other"),
        lambda: [*llama.pull("other", stream=True)],
        lambda: llama.push(MODEL),
        lambda: llama.create("mine", from_=MODEL),
        lambda: llama.create_blob(blob),
        lambda: llama.copy(MODEL, "mine"),
        lambda: llama.delete(MODEL),
    ):
        with pytest.raises(ollama.ResponseError, match="llmrt serve"):
            call()


def test_c16_c47_the_errors_of_the_server_have_ollamas_form(thinker: httpx.Client) -> None:
    assert "maximum context length" in error_of(thinker.post("/api/chat", json=asked("long " * 4096)), 400)
    assert error_of(thinker.post("/api/other", json={"model": "x"}), 404) == "Unknown path: POST /api/other."
    assert error_of(thinker.get("/api/chat"), 405).startswith("Method not allowed")
    assert error_of(thinker.post("/api/chat", content=b"{"), 400).startswith("The request body is not valid JSON")
    assert error_of(thinker.post("/api/chat", content=b" " * 50_000_000), 413)


def test_c11_c47_a_stream_that_fails_ends_with_an_error(llama: ollama.Client, thinker: httpx.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="the engine failed midway"):
        for part in llama.chat(MODEL, user("@fail"), stream=True):
            assert not part.done
    last = lines(thinker.post("/api/chat", json={"messages": user("@fail")}))[-1]
    assert last == {"error": "the engine failed midway"}
    with pytest.raises(ollama.ResponseError, match="the engine failed midway") as caught:
        llama.chat(MODEL, user("@fail"))
    assert caught.value.status_code == 500
