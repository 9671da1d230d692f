"""``llmrt serve`` with the real model and the real client: from the shell to an answer, and within its memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
import torch
from anthropic import Anthropic
from ollama import Client as Ollama
from openai import OpenAI

from llmrt.model.checkpoints.config_files import read_config
from llmrt.model.checkpoints.tensor_slots import num_parameters
from tests.e2e.served_command import ServedCommand, served_command

CONTEXT = 2048
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
CAPITAL = "The capital of France is Paris."
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"enum": ["Paris", "東京"]}, "millions": {"type": "integer", "minimum": 1, "maximum": 40}},
    "required": ["name", "millions"],
}


serve = partial(served_command, "smollm2-135m", "--ctx", str(CONTEXT), "--quant", "none")


@pytest.fixture(scope="module")
def server() -> Iterator[ServedCommand]:
    with serve() as server:
        yield server


@pytest.fixture(scope="module")
def client(server: ServedCommand) -> OpenAI:
    return client_of(server)


def client_of(server: ServedCommand) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key="none", _strict_response_validation=True)


def test_memory_is_weights_cache_and_500_mb(smollm2: Path) -> None:
    """Of a server that nothing else was asked: what grammars need stays with it."""
    prompt = [1 + i % 1000 for i in range(CONTEXT - 20)]
    with serve() as server:
        client_of(server).completions.create(model="smollm2-135m", prompt=prompt, max_tokens=4)
        (engine,) = [p for p in psutil.Process(server.pid).children() if "llmrt.engine.worker" in p.cmdline()]
        rss = engine.memory_info().rss
    config = read_config(smollm2)
    weights, cache = 4 * num_parameters(config), 4 * config.kv_values_per_token() * CONTEXT
    of_cuda = 250e6 if torch.version.cuda else 0  # importing a torch that is built for it takes as much more
    assert rss < weights + cache + 500e6 + of_cuda


def test_an_answer_whole_and_streamed(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="smollm2-135m", messages=QUESTION, temperature=0)
    assert whole.choices[0].message.content == CAPITAL
    assert whole.choices[0].finish_reason == "stop"
    stream = client.chat.completions.create(model="smollm2-135m", messages=QUESTION, temperature=0, stream=True)
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 4


def test_c46_the_same_answer_through_anthropics_client(server: ServedCommand) -> None:
    with Anthropic(base_url=server.url, api_key="none", _strict_response_validation=True) as claude:
        ask: Any = {"model": "smollm2-135m", "max_tokens": 50, "messages": QUESTION, "extra_body": {"temperature": 0}}
        with claude.messages.stream(**ask) as stream:
            assert "".join(stream.text_stream) == CAPITAL
            usage = stream.get_final_message().usage
        whole = claude.messages.create(**ask)
    assert [block.text for block in whole.content if block.type == "text"] == [CAPITAL]
    assert (whole.stop_reason, whole.usage.output_tokens) == ("end_turn", usage.output_tokens)


def test_the_same_answer_as_a_response_and_its_form(client: OpenAI) -> None:
    ask: Any = {"model": "smollm2-135m", "input": QUESTION, "temperature": 0}
    whole = client.responses.create(**ask)
    with client.responses.stream(**ask) as stream:
        assert "".join(event.delta for event in stream if event.type == "response.output_text.delta") == CAPITAL
        streamed = stream.get_final_response()
    assert whole.output_text == streamed.output_text == CAPITAL and whole.status == "completed"
    assert whole.usage is not None and streamed.usage is not None
    assert whole.usage.output_tokens == streamed.usage.output_tokens
    form: Any = {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}
    jsonschema.validate(json.loads(client.responses.create(**ask, text={"format": form}).output_text), CITY)


def test_c47_the_same_answer_through_ollamas_client(server: ServedCommand) -> None:
    llama = Ollama(host=server.url)
    ask: Any = {"model": "smollm2-135m", "messages": QUESTION, "options": {"temperature": 0}}
    whole = llama.chat(**ask)
    *parts, last = llama.chat(**ask, stream=True)
    assert whole.message.content == "".join(part.message.content or "" for part in parts) == CAPITAL
    assert whole.done_reason == last.done_reason == "stop"
    assert whole.eval_count == last.eval_count and (whole.eval_duration or 0) > 0
    jsonschema.validate(json.loads(llama.chat(**ask, format=CITY).message.content or ""), CITY)
    details = llama.show("smollm2-135m").details
    assert details is not None and details.quantization_level == "Q4_1"  # the file's


def test_a_completion_of_token_ids_is_that_of_their_text(client: OpenAI) -> None:
    ask = {"model": "smollm2-135m", "temperature": 0, "max_tokens": 6, "extra_body": {"return_token_ids": True}}
    by_text = client.completions.create(prompt="The capital of France is", **ask)
    assert by_text.choices[0].text.startswith(" Paris")
    ids = by_text.choices[0].model_extra["prompt_token_ids"]
    by_ids = client.completions.create(prompt=ids, **ask)
    assert by_ids.choices[0].model_extra["token_ids"] == by_text.choices[0].model_extra["token_ids"]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "set_alarm"}}])
def test_c30_c31_a_small_model_calls_when_it_must_and_as_the_schema_says(client: OpenAI, choice: Any) -> None:
    city = {"type": "string", "enum": ["Paris", "東京"]}
    tools: Any = [
        tool("get_weather", {"city": city}),
        tool("set_alarm", {"hour": {"type": "integer", "minimum": 0, "maximum": 23}, "where": city}),
    ]
    ask: Any = {"model": "smollm2-135m", "messages": QUESTION, "tools": tools, "tool_choice": choice, "seed": 1}
    whole = client.chat.completions.create(**ask, parallel_tool_calls=False).choices[0]
    with client.chat.completions.stream(**ask, parallel_tool_calls=False) as stream:
        streamed = stream.get_final_completion().choices[0]
    for answer in (whole, streamed):
        assert answer.finish_reason == "tool_calls" and answer.message.tool_calls is not None
        (call,) = answer.message.tool_calls
        assert call.type == "function" and (choice == "required" or call.function.name == "set_alarm")
        (schema,) = [t["function"]["parameters"] for t in tools if t["function"]["name"] == call.function.name]
        jsonschema.validate(json.loads(call.function.arguments), schema)
    assert whole.message.tool_calls is not None and streamed.message.tool_calls is not None
    assert whole.message.tool_calls[0].function.arguments == streamed.message.tool_calls[0].function.arguments


def tool(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}
