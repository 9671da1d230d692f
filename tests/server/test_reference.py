"""``/openapi.json`` and ``/docs``: that they are whole, and that what the server says and takes is as they say."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import httpx
import jsonschema
import pytest
from serving import chat

ANSWERS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    ("/v1/completions", {"prompt": "hi", "logprobs": 1}),
    ("/v1/embeddings", {"input": "hi"}),
    ("/v1/responses", {"input": "hi"}),
    ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}),
    ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "hi"}]}),
    ("/tokenize", {"prompt": "hi"}),
    ("/detokenize", {"tokens": [104]}),
    ("/apply-template", {"messages": [{"role": "user", "content": "hi"}]}),
    ("/api/chat", {"messages": [{"role": "user", "content": "hi"}], "stream": False}),
    ("/api/generate", {"prompt": "hi", "stream": False}),
    ("/api/embed", {"input": "hi"}),
    ("/api/embeddings", {"prompt": "hi"}),
    ("/api/show", {}),
    ("/api/pull", {"stream": False}),
]


FOR_ADMINS = [
    ("/v1/load_lora_adapter", {"lora_name": "a", "lora_path": "/a"}),
    ("/v1/unload_lora_adapter", {"lora_name": "a"}),
]


@pytest.fixture(scope="module")
def described(http: httpx.Client) -> dict[str, Any]:
    return http.get("/openapi.json").raise_for_status().json()


def test_every_route_that_takes_a_body_says_which(described: dict[str, Any]) -> None:
    operations = [(path, method, op) for path, ops in described["paths"].items() for method, op in ops.items()]
    assert {path for path, _ in (*ANSWERS, *FOR_ADMINS)} == {path for path, method, _ in operations if method == "post"}
    for path, method, operation in operations:
        assert operation["description"], path
        if method == "post":
            assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"], path
            assert operation["responses"]["4XX"]["content"]["application/json"]["schema"]["$ref"], path


def test_what_is_read_of_a_query_is_described(http: httpx.Client, described: dict[str, Any]) -> None:
    page = http.get("/docs").text
    read = {"/v1/models": {"limit", "after_id", "before_id"}, "/tokenizer_info": {"model"}}
    for path, operations in described["paths"].items():
        parameters = [of for operation in operations.values() for of in operation.get("parameters", [])]
        assert {of["name"] for of in parameters if of["in"] == "query"} == read.get(path, set()), path
        assert all(f"{of['name']}, in the {of['in']}" in page for of in parameters)


def test_every_reference_is_known(described: dict[str, Any]) -> None:
    names = set(re.findall(r'"\$ref": "([^"]+)"', str(described).replace("'", '"')))
    assert names and names <= {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}


@pytest.mark.parametrize(("path", "body"), ANSWERS)
def test_answers_and_errors_are_as_described(
    http: httpx.Client, described: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    operation = described["paths"][path]["post"]
    check(described, operation["requestBody"]["content"], body)
    response = http.post(path, json=body)
    assert response.status_code == 200, response.text
    check(described, operation["responses"]["200"]["content"], response.json())
    refused = http.post(path, json=[])
    assert refused.status_code == 400
    check(described, operation["responses"]["4XX"]["content"], refused.json())


@pytest.mark.parametrize(("path", "body"), FOR_ADMINS)
def test_what_is_for_admins_is_refused_as_described(
    http: httpx.Client, described: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    operation = described["paths"][path]["post"]
    check(described, operation["requestBody"]["content"], body)
    refused = http.post(path, json=body)
    assert refused.status_code == 403
    check(described, operation["responses"]["4XX"]["content"], refused.json())


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/{model_id}", "/api/tags", "/api/ps", "/api/version"])
def test_what_is_told_is_as_described(http: httpx.Client, described: dict[str, Any], path: str) -> None:
    answer = http.get(path.format(model_id="tiny-alias")).raise_for_status().json()
    check(described, described["paths"][path]["get"]["responses"]["200"]["content"], answer)


def check(described: dict[str, Any], content: dict[str, Any], instance: Any) -> None:
    schema = content["application/json"]["schema"] | {"components": described["components"]}
    jsonschema.validate(instance, schema)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            elif name in ("href", "src"):
                self.links.append(value or "")


def test_the_page_has_all_of_it_and_loads_nothing_from_elsewhere(http: httpx.Client, described: dict[str, Any]) -> None:
    response = http.get("/docs")
    page = _Page()
    page.feed(response.text)
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert all(path in response.text for path in described["paths"])
    assert page.ids == {*described["components"]["schemas"]}
    assert not any(link.startswith("/") for link in page.links)  # a proxy may serve it below a path
    for link in page.links:
        assert link[1:] in page.ids if link.startswith("#") else http.get(f"/{link}").status_code == 200, link


def test_a_chat_stream_is_as_described(http: httpx.Client, described: dict[str, Any]) -> None:
    content = described["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]["text/event-stream"]
    parts = content["schema"]["properties"]["data"]["contentSchema"]
    for line in chat(http, "two words", stream=True).text.split("\n\n")[:-2]:
        if line.startswith("data: "):
            schema = parts | {"components": described["components"]}
            jsonschema.validate(json.loads(line.removeprefix("data: ")), schema)
