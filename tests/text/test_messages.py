"""Messages as clients send them."""

from __future__ import annotations

from typing import Any

import pytest

from llmrt.errors import RequestError
from llmrt.text.chat_format import ChatFormat, chat_format
from llmrt.text.chat_template import ChatTemplate
from llmrt.text.messages import normalize_messages


def test_messages_with_text_stay_as_they_are() -> None:
    messages = [{"role": "user", "content": "Hi", "name": "ann"}, {"role": "assistant", "content": ""}]
    assert normalize_messages(messages) == messages
    assert normalize_messages([]) == []


def test_parts_become_text_and_developer_becomes_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "text", "text": "b"}]
    message = {"role": "developer", "content": parts}
    assert normalize_messages([message]) == [{"role": "system", "content": "a\n\nb"}]
    assert message["role"] == "developer"
    assert normalize_messages([{"role": "user", "content": []}]) == [{"role": "user", "content": ""}]


def test_an_assistant_may_have_only_tool_calls() -> None:
    calls: list[dict[str, Any]] = [{"id": "1", "type": "function", "function": {"name": "f"}}]
    for message in ({"role": "assistant", "tool_calls": calls}, {"role": "assistant", "content": None}):
        assert normalize_messages([message]) == [{**message, "content": ""}]


@pytest.mark.parametrize(
    ("message", "param", "reason"),
    [
        ({"content": "x"}, "messages[1].role", "must be a string"),
        ({"role": 3, "content": "x"}, "messages[1].role", "must be a string"),
        ({"role": "user"}, "messages[1].content", "is missing"),
        ({"role": "user", "content": None}, "messages[1].content", "is missing"),
        ({"role": "user", "content": 5}, "messages[1].content", "must be a string or a list"),
        ({"role": "user", "content": {"type": "text"}}, "messages[1].content", "must be a string or a list"),
        ({"role": "user", "content": [{"type": "text", "text": 1}]}, "messages[1].content[0].text", "string"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[1].content[0].text", "string"),
        ({"role": "user", "content": ["x"]}, "messages[1].content[0]", "type None"),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]},
            "messages[1].content[1]",
            "type 'image_url'",
        ),
    ],
)
def test_what_cannot_be_rendered_is_named(message: dict[str, Any], param: str, reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        normalize_messages([{"role": "user", "content": "ok"}, message])
    assert caught.value.param == param
    assert str(caught.value).startswith(param)
    assert reason in str(caught.value)


def test_roles_are_the_usual_ones_and_those_that_the_template_names() -> None:
    critic = [{"role": "critic", "content": "Well."}]
    assert _format("{% if messages[0].role == 'critic' %}Say so.{% endif %}").history(critic) == critic
    with pytest.raises(RequestError, match=r"messages\[0\]\.role is 'critic'; it must be system, developer"):
        _format("{{ messages[0].role }}").history(critic)


def _format(template: str) -> ChatFormat:
    return chat_format(ChatTemplate(template, bos_token="", eos_token=""))
