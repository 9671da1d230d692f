"""Rendering against transformers' apply_chat_template, and where templates are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pytest
import tokenizers
from transformers import PreTrainedTokenizerFast

from llmrt.errors import CheckpointError, RequestError, TemplateError
from llmrt.text.chat_template import ChatTemplate, load_chat_template
from tests.text import templates

SYSTEM = {"role": "system", "content": "Be brief. ü日本🎉"}
USER = {"role": "user", "content": "  Hi! {{ not a template }} <tag> & 'quotes'\n"}
ASSISTANT = {"role": "assistant", "content": "Hello.\n\nBye. "}
TOOLS = [{"type": "function", "function": {"name": "wetter", "description": "Zürich <b>", "parameters": {}}}]
CONVERSATIONS = [
    [USER],
    [SYSTEM, USER],
    [USER, ASSISTANT],
    [SYSTEM, USER, ASSISTANT, USER],
    [USER, ASSISTANT, USER, ASSISTANT, USER],
    [{"role": "user", "content": ""}],
    [SYSTEM],
    [ASSISTANT, USER],
    [USER, {"role": "stop", "content": "x"}, USER],
]


@pytest.fixture(scope="module")
def theirs(train_bpe: Callable[..., tokenizers.Tokenizer]) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=train_bpe(), bos_token="<s>", eos_token="</s>")


def outcome(render: Callable[[], str]) -> str | type[Exception]:
    try:
        return render()
    except (jinja2.TemplateError, TemplateError, TypeError):
        return TemplateError


@pytest.mark.parametrize("name", templates.ALL)
@pytest.mark.parametrize("tools", [None, TOOLS])
def test_prompts_equal_transformers(theirs: PreTrainedTokenizerFast, name: str, tools: Any) -> None:
    ours = ChatTemplate(templates.ALL[name], bos_token="<s>", eos_token="</s>")
    rendered = 0
    for messages in CONVERSATIONS:
        for prompt in (True, False):
            options: dict[str, Any] = {"tools": tools, "add_generation_prompt": prompt}
            expected = outcome(
                lambda m=messages, o=options: theirs.apply_chat_template(
                    m, chat_template=templates.ALL[name], tokenize=False, **o
                )
            )
            assert outcome(lambda m=messages, o=options: ours.render(m, **o)) == expected
            rendered += isinstance(expected, str)
    assert rendered >= 10


def test_variables_of_the_template_can_be_given(theirs: PreTrainedTokenizerFast) -> None:
    ours = ChatTemplate(templates.HELPERS, bos_token="<s>", eos_token="</s>")
    expected = theirs.apply_chat_template(
        [USER], chat_template=templates.HELPERS, tokenize=False, custom="yes", documents=[{"text": "a"}]
    )
    prompt = ours.render([USER], add_generation_prompt=False, custom="yes", documents=[{"text": "a"}])
    assert prompt == expected
    assert "False True yes 4" in prompt


def test_a_token_that_the_model_lacks_is_not_defined() -> None:
    template = ChatTemplate("{{ bos_token is defined }}{{ eos_token }}", bos_token="", eos_token="</s>")
    assert template.render([USER]) == "False</s>"


def test_content_parts_are_joined_before_rendering() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    template = ChatTemplate(templates.CHATML, bos_token="", eos_token="")
    messages = [{"role": "developer", "content": parts}]
    assert template.render(messages, add_generation_prompt=False) == "<|im_start|>system\none\ntwo<|im_end|>\n"
    with pytest.raises(RequestError, match=r"messages\[0\]\.content"):
        template.render([{"role": "user", "content": [{"type": "image_url"}]}])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ raise_exception('Roles must alternate.') }}", "refuses these messages: Roles must alternate."),
        ("{{ messages[0].content + 1 }}", "fails on these messages: can only concatenate str"),
        ("{{ nothing.at.all }}", "refuses these messages: 'nothing' is undefined"),
        ("{{ messages.append(1) }}", "refuses these messages:"),
        ("{{ ''.__class__.__mro__ }}", "refuses these messages: access to attribute '__class__'"),
        ("{{ 1 // 0 }}", "fails on these messages: "),
        ("{% for i in range(99999999) %}{% endfor %}", "fails on these messages: Range too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "fails on these messages: "),
        ("{{ strftime_now(1) }}", "fails on these messages: "),
    ],
)
def test_a_template_that_fails_is_a_template_error(source: str, reason: str) -> None:
    template = ChatTemplate(source, bos_token="<s>", eos_token="</s>")
    with pytest.raises(TemplateError) as caught:
        template.render([USER])
    assert reason in str(caught.value)


def test_a_template_that_cannot_be_parsed_names_the_line() -> None:
    for source in ("a\n{% if x %}", "a\n{{ x | nofilter }}", "a\n{% generation %}"):
        with pytest.raises(TemplateError, match="Line 2 of the chat template: "):
            ChatTemplate(source, bos_token="", eos_token="")


def test_a_directory_without_a_template(tmp_path: Path, write_json: Callable[[str, object], Path]) -> None:
    assert load_chat_template(tmp_path) is None
    write_json("tokenizer_config.json", {"bos_token": "<s>", "chat_template": None})
    assert load_chat_template(tmp_path) is None


def shown(path: Path, tools: Any = None) -> str:
    template = load_chat_template(path)
    assert template is not None
    return template.render([USER], tools=tools)


def test_where_a_directory_keeps_its_template(tmp_path: Path, write_json: Callable[[str, object], Path]) -> None:
    write_json("chat_template.json", {"chat_template": "processor"})
    write_json("special_tokens_map.json", {"bos_token": "<map>", "eos_token": {"content": "</map>"}})
    assert shown(tmp_path) == "processor"
    config: dict[str, object] = {"chat_template": "{{ bos_token }} {{ eos_token }}"}
    write_json("tokenizer_config.json", config | {"bos_token": {"content": "<s>"}})
    assert shown(tmp_path) == "<s> </map>"
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "with tools"}]
    write_json("tokenizer_config.json", {"chat_template": named})
    assert (shown(tmp_path), shown(tmp_path, TOOLS), shown(tmp_path, [])) == ("plain", "with tools", "plain")
    (tmp_path / "chat_template.jinja").write_text("jinja 日本", encoding="utf-8")
    assert (shown(tmp_path), shown(tmp_path, TOOLS)) == ("jinja 日本", "jinja 日本")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("more")
    assert (shown(tmp_path), shown(tmp_path, TOOLS)) == ("jinja 日本", "more")


@pytest.mark.parametrize("value", [3, {"default": "x"}, ["x"], [{"name": "default"}]])
def test_a_template_of_another_type_is_named(
    tmp_path: Path, write_json: Callable[[str, object], Path], value: object
) -> None:
    write_json("tokenizer_config.json", {"chat_template": value})
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: chat_template must be"):
        load_chat_template(tmp_path)


def test_a_template_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"a\xff")
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja is not UTF-8"):
        load_chat_template(tmp_path)


def test_a_list_without_a_default_names_what_there_is(
    tmp_path: Path, write_json: Callable[[str, object], Path]
) -> None:
    write_json("tokenizer_config.json", {"chat_template": [{"name": "rag", "template": "x"}]})
    with pytest.raises(TemplateError, match="no chat template named 'default', only rag"):
        load_chat_template(tmp_path)


def test_a_gguf_file_has_its_template_in_the_metadata(
    write_gguf: Callable[[Mapping[str, object]], Path], sp_fields: dict[str, object]
) -> None:
    assert load_chat_template(write_gguf(sp_fields)) is None
    template = {"tokenizer.chat_template": "{{ bos_token }} {{ eos_token }}"}
    assert shown(write_gguf(sp_fields | template)) == "<s> </s>"
    template_of_known = load_chat_template(write_gguf(sp_fields | template), {"bos_token": "known"})
    assert template_of_known is not None and template_of_known.render([USER]) == "known "
    more = {"tokenizer.chat_templates": ["tool_use"], "tokenizer.chat_template.tool_use": "with tools"}
    path = write_gguf(sp_fields | template | more)
    assert (shown(path), shown(path, TOOLS)) == ("<s> </s>", "with tools")
