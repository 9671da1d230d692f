"""Prompts of folders with tekken.json alone are those of mistral_common 1.12.0, whose words stand here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmrt.text.chat_format import ChatFormat, chat_format
from llmrt.text.chat_template import load_chat_template


def call(call_id: str, city: str) -> dict[str, Any]:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": "weather", "arguments": json.dumps({"city": city})},
    }


MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Rome, Zürich?"},
    {"role": "assistant", "content": "", "tool_calls": [call("abcdefghi", "Rome"), call("123456789", "Zürich")]},
    {"role": "tool", "tool_call_id": "abcdefghi", "content": "sunny"},
    {"role": "tool", "tool_call_id": "123456789", "content": '{"t": 3}'},
    {"role": "assistant", "content": "Fine."},
    {"role": "user", "content": "And now?"},
]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "", "parameters": {}}}]

AVAILABLE = (
    '[AVAILABLE_TOOLS][{"type": "function", "function":'
    ' {"name": "weather", "description": "", "parameters": {}}}][/AVAILABLE_TOOLS]'
)
SYSTEM = "[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT]"
ASKED = "[INST]Rome, Zürich?[/INST]"
LIST = (
    '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Rome"}, "id": "abcdefghi"},'
    ' {"name": "weather", "arguments": {"city": "Zürich"}, "id": "123456789"}]</s>'
)
BEHIND_ID = (
    "[TOOL_RESULTS]abcdefghi[TOOL_CONTENT]sunny[/TOOL_RESULTS]"
    '[TOOL_RESULTS]123456789[TOOL_CONTENT]{"t": 3}[/TOOL_RESULTS]'
)

PROMPTS = {
    "v3": f"<s>{ASKED}{LIST}"
    '[TOOL_RESULTS]{"content": "sunny", "call_id": "abcdefghi"}[/TOOL_RESULTS]'
    '[TOOL_RESULTS]{"content": {"t": 3}, "call_id": "123456789"}[/TOOL_RESULTS]'
    f"Fine.</s>{AVAILABLE}[INST]Be brief.\n\nAnd now?[/INST]",
    "v7": f"<s>{SYSTEM}{ASKED}{LIST}{BEHIND_ID}Fine.</s>{AVAILABLE}[INST]And now?[/INST]",
    "v11": f'<s>{SYSTEM}{ASKED}[TOOL_CALLS]weather[CALL_ID]abcdefghi[ARGS]{{"city": "Rome"}}'
    f'[TOOL_CALLS]weather[CALL_ID]123456789[ARGS]{{"city": "Zürich"}}</s>{BEHIND_ID}'
    f"Fine.</s>{AVAILABLE}[INST]And now?[/INST]",
    "v13": f'<s>{SYSTEM}{AVAILABLE}{ASKED}[TOOL_CALLS]weather[ARGS]{{"city": "Rome"}}'
    '[TOOL_CALLS]weather[ARGS]{"city": "Zürich"}</s>'
    '[TOOL_RESULTS]sunny[/TOOL_RESULTS][TOOL_RESULTS]{"t": 3}[/TOOL_RESULTS]'
    "Fine.</s>[INST]And now?[/INST]",
}


def format_of(folder: Path, version: str) -> ChatFormat | None:
    config = {"pattern": "x", "default_vocab_size": 0, "default_num_special_tokens": 0, "version": version}
    (folder / "tekken.json").write_text(json.dumps({"config": config, "vocab": []}))
    template = load_chat_template(folder)
    return None if template is None else chat_format(template)


@pytest.mark.parametrize("version", PROMPTS)
def test_prompts_are_those_of_mistral_common(version: str, tmp_path: Path) -> None:
    form = format_of(tmp_path, version)
    assert form is not None and form.shows_tools and form.shows_results
    assert form.render(form.history(MESSAGES, TOOLS), TOOLS) == PROMPTS[version]


def test_other_versions_and_other_tokenizers_have_no_template(tmp_path: Path) -> None:
    assert format_of(tmp_path, "v99") is None
    (tmp_path / "tokenizer.json").write_text("{}")
    assert format_of(tmp_path, "v7") is None
