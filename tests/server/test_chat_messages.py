"""What becomes of the messages: the scripted engine answers with the prompt it got ("<|" shown as "<")."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from serving import content, error_of, serving, write_model

from llmrt.config import ServerSettings

USER = {"role": "user", "content": "@prompt"}


def ask(http: httpx.Client, messages: list[Any], **fields: Any) -> httpx.Response:
    return http.post("/v1/chat/completions", json={"messages": messages, **fields})


def prompt(http: httpx.Client, messages: list[Any], **fields: Any) -> str:
    return content(ask(http, messages, **fields)).replace("<im_end|>", "").replace("\n", " ")


@pytest.mark.parametrize(
    "call",
    [
        {"tool_calls": []},
        {"content": None, "tool_calls": None, "function_call": None},
        {"content": ""},
        {"content": []},
        {"content": None},
    ],
)
def test_c26_assistant_messages_without_text_render(http: httpx.Client, call: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", **call}, USER]
    assert prompt(http, messages) == "<im_start|>user a <im_start|>assistant  <im_start|>user @prompt " + (
        "<im_start|>assistant "
    )


def test_c26_tool_messages_as_string_and_as_parts(http: httpx.Client) -> None:
    for text in ("sunny", [{"type": "text", "text": "sunny"}]):
        tool = {"role": "tool", "tool_call_id": "1", "content": text}
        assert "<im_start|>tool sunny" in prompt(http, [{"role": "user", "content": "a"}, tool, USER])


def test_c27_developer_is_system_and_several_are_merged(http: httpx.Client) -> None:
    developer = {"role": "developer", "content": "one"}
    assert prompt(http, [developer, USER]).startswith("<im_start|>system one <im_start|>user")
    merged = prompt(http, [developer, USER, {"role": "system", "content": "two"}, USER])
    assert merged.startswith("<im_start|>system one  two <im_start|>user @prompt <im_start|>user @prompt")


def test_c27_what_the_template_refuses_is_the_clients_fault(http: httpx.Client) -> None:
    error = error_of(ask(http, [{"role": "user", "content": "@refused"}]), 400)
    assert "No message of: user" in error["message"] and error["param"] == "messages"


def test_a_misspelt_role_is_refused_with_the_one_that_is_meant(http: httpx.Client) -> None:
    error = error_of(ask(http, [USER, {"role": "asistant", "content": "arr"}, USER]), 400)
    assert error["param"] == "messages[1].role"
    assert error["message"].endswith("is 'asistant'; did you mean 'assistant'?")
    error = error_of(ask(http, [USER, {"role": "ipython", "content": "4"}]), 400)
    assert "The chat template refuses these messages: No message of: ipython" in error["message"]


def test_c29_parts_of_text_are_joined_in_every_role(http: httpx.Client) -> None:
    parts = [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]
    for role in ("system", "developer", "user", "assistant"):
        assert "x y" in prompt(http, [{"role": role, "content": parts}, USER])


def test_c29_other_parts_are_refused_by_index(http: httpx.Client) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    parts = [{"type": "text", "text": "x"}, image]
    error = error_of(ask(http, [USER, {"role": "user", "content": parts}]), 400)
    assert error["param"] == "messages[1].content[1]" and "image_url" in error["message"]


def test_c40_a_last_assistant_message_is_continued(http: httpx.Client) -> None:
    for fields in ({}, {"continue_final_message": True}):
        text = prompt(http, [USER, {"role": "assistant", "content": "The answer is "}], **fields)
        assert text == "<im_start|>user @prompt <im_start|>assistant The answer is "
    parts = [{"type": "text", "text": "im_end"}]  # a text that the template also writes
    assert prompt(http, [USER, {"role": "assistant", "content": parts}]).endswith("assistant im_end")
    assert prompt(http, [USER, {"role": "assistant", "content": ""}]).endswith("assistant ")


def test_c40_a_new_message_when_asked(http: httpx.Client) -> None:
    messages = [USER, {"role": "assistant", "content": "done"}]
    text = prompt(http, messages, continue_final_message=False)
    assert text.endswith("<im_start|>assistant done <im_start|>assistant ")


def test_c40_how_a_message_begins_may_be_left_out(http: httpx.Client) -> None:
    done = {"role": "assistant", "content": "done"}
    shown = prompt(http, [USER], add_generation_prompt=False)
    assert shown and shown + "<im_start|>assistant " == prompt(http, [USER], add_generation_prompt=True)
    assert prompt(http, [USER, done], add_generation_prompt=False).endswith("assistant done ")
    fields = {"add_generation_prompt": False, "continue_final_message": True}  # as vLLM wants it
    assert prompt(http, [USER, done], **fields) == prompt(http, [USER, done])


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        (
            [USER, {"role": "assistant", "content": "a"}],
            {"continue_final_message": True, "add_generation_prompt": True},
            "add_generation_prompt",
        ),
        ([USER, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}], {}, "messages"),
        ([USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}], {}, "messages"),
        ([USER], {"continue_final_message": True}, "continue_final_message"),
    ],
)
def test_c40_what_cannot_be_continued(
    http: httpx.Client, messages: list[Any], fields: dict[str, Any], param: str
) -> None:
    assert error_of(ask(http, messages, **fields), 400)["param"] == param


def test_template_variables(http: httpx.Client) -> None:
    assert prompt(http, [USER], chat_template_kwargs={"opening": "Well"}).endswith("assistant Well")
    error = error_of(ask(http, [USER], chat_template_kwargs={"messages": []}), 400)
    assert error["param"] == "chat_template_kwargs"


def test_a_model_without_template_refuses_chats_and_completes(tmp_path: Any) -> None:
    path = write_model(tmp_path / "base", chat=False)
    with serving(path, ServerSettings()) as served, served.http() as http:
        error = error_of(ask(http, [USER]), 400)
        assert "/v1/completions" in error["message"]
        assert http.post("/v1/completions", json={"prompt": "hi"}).json()["choices"][0]["text"] == "hi"
