"""Messages as clients send them."""

from __future__ import annotations

from typing import Any

import pytest

from llmrt.errors import RequestError, TemplateError
from llmrt.text.chat_format import ChatFormat, chat_format
from llmrt.text.chat_template import ChatTemplate
from llmrt.text.messages import normalize_messages
from tests.text.templates import LLAMA_2, MISTRAL


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


ANY_ROLE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
LOWERS = (
    "{% for message in messages %}{% if message.role|lower == 'user' %}U{% elif message.role|lower == 'chatbot' %}C"
    "{% else %}{{ raise_exception('Unknown role: ' ~ message.role) }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("role", "meant"),
    [
        ("asistant", "assistant"),
        ("assistent", "assistant"),
        ("usr", "user"),
        ("systm", "system"),
        ("tools", "tool"),
        ("USER", "user"),
    ],
)
def test_a_misspelt_role_is_refused_with_the_one_that_is_meant(role: str, meant: str) -> None:
    with pytest.raises(RequestError, match=rf"messages\[1\]\.role is '{role}'; did you mean '{meant}'\?"):
        _prompt(_format(ANY_ROLE), "user", role)


@pytest.mark.parametrize(
    "role", ["critic", "ipython", "document", "control", "user2", "Tom", "sister", "model", "用户"]
)
def test_other_roles_are_the_templates_own_matter(role: str) -> None:
    assert _prompt(_format(ANY_ROLE), role) == f"{role}: x\n"


def test_a_message_that_the_template_would_leave_out_is_refused() -> None:
    some = _format("{% for m in messages if m.role in ('user', 'critic') %}{{ m.content | upper }}{% endfor %}")
    assert _prompt(some, "user", "critic") == "XX"
    with pytest.raises(RequestError, match="leaves out what has the role 'human'; put it into"):
        _prompt(some, "critic", "human")


USER_AND_ASSISTANT = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ '<|user|>' + m.content }}"
    "{% elif m.role == 'assistant' %}{{ '<|assistant|>' + m.content }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("role", ["system", "developer", "ipython"])
def test_a_text_that_is_lost_is_refused_though_the_user_says_it_too(role: str) -> None:
    chat = _format(USER_AND_ASSISTANT)
    messages = [{"role": role, "content": "hi"}, {"role": "user", "content": "a thing"}]
    with pytest.raises(RequestError, match=r"leaves out what has the role '\w+'; put it into a message of 'user'"):
        chat.render(chat.history(messages))
    assert chat.render(chat.history([{"role": role, "content": " "}, *messages[1:]])) == "<|user|>a thing"


def test_developer_is_system_where_the_template_has_but_the_word() -> None:
    template = "{% for m in messages if m.role in ('user', 'system') %}{{ m.role }}: {{ m.content }} {% endfor %}"
    assert _prompt(_format(template + "{# a developer #}"), "developer", "user") == "system: x user: x "
    assert _prompt(_format(ANY_ROLE + "{# a developer #}"), "developer") == "developer: x\n"


def test_tools_that_a_lost_system_message_describes_are_refused() -> None:
    chat = _format(USER_AND_ASSISTANT)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    with pytest.raises(RequestError, match="shows neither tools nor the role 'system'") as caught:
        chat.render(chat.history([{"role": "user", "content": "x"}], tools), tools)
    assert caught.value.param == "tools"


@pytest.mark.parametrize("shown", ["m.content | tojson", "m.content.split('b') | join", "m.content | upper"])
def test_a_message_that_the_template_changes_is_shown(shown: str) -> None:
    chat = _format("{% for m in messages %}{{ m.role }}:{{ " + shown + " }}{% endfor %}")
    for role in ("system", "ipython"):
        assert chat.render(chat.history([{"role": role, "content": 'a"b\n"c'}])).startswith(f"{role}:")


def test_a_template_that_checks_contents_says_itself_what_it_refuses() -> None:
    chat = _format(
        "{% for m in messages %}{% if m.content != 'ok' %}{{ raise_exception('No') }}{% endif %}{% endfor %}"
    )
    assert chat.render(chat.history([{"role": "ipython", "content": "ok"}])) == ""
    with pytest.raises(TemplateError, match="No"):
        chat.render(chat.history([{"role": "ipython", "content": "x"}]))


def test_a_system_message_is_lost_where_the_template_takes_it_for_the_assistants() -> None:
    chat = _format(LLAMA_2)
    assert "<<SYS>>\nx\n" in _prompt(chat, "system", "user")
    for role, reason in (("system", "leaves out a system message here; put it first"), ("critic", "role 'critic'")):
        with pytest.raises(RequestError, match=reason):
            _prompt(chat, "user", role, "user")


def test_a_template_may_show_the_system_message_to_the_last_user_only() -> None:
    assert _prompt(_format(MISTRAL), "system", "user", "assistant") == "<s>[INST] x[/INST] x</s>"


def test_a_template_that_lowers_roles_takes_them_in_capitals() -> None:
    assert _prompt(_format(LOWERS), "USER", "CHATBOT", "User", "chatbot") == "UCUC"
    with pytest.raises(RequestError, match="did you mean 'user'"):
        _prompt(_format(LOWERS), "USR")
    with pytest.raises(TemplateError, match="Unknown role: critic"):
        _prompt(_format(LOWERS), "critic")


def test_a_role_that_one_of_two_templates_names_is_no_misspelt_one() -> None:
    tool_use = "{% if messages[0].role == 'tools' %}{{ tools }}{% endif %}"
    assert _prompt(_format(ANY_ROLE, tool_use), "tools") == "tools: x\n"


def _format(template: str, tool_use: str | None = None) -> ChatFormat:
    return chat_format(ChatTemplate(template, bos_token="<s>", eos_token="</s>", tool_use=tool_use))


def _prompt(chat: ChatFormat, *roles: str) -> str:
    return chat.render(chat.history([{"role": role, "content": "x"} for role in roles]))
