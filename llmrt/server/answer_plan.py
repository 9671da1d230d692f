"""How the answer to a chat request will be read, and the grammar that makes it readable."""

from __future__ import annotations

from dataclasses import dataclass

from llmrt.server.schemas import ChatBody
from llmrt.server.served_model import ServedModel
from llmrt.server.structured import body_grammar, check_end
from llmrt.server.tool_use import ToolUse
from llmrt.text.answer_format import AnswerFormat
from llmrt.text.chat_format import ChatFormat
from llmrt.text.grammar import lark_grammar_with
from llmrt.text.tool_formats.tool_format import Spell, literal
from llmrt.text.tool_formats.tool_grammar import Thoughts, tool_grammar, whole_grammar


@dataclass(frozen=True, kw_only=True)
class AnswerPlan:
    """``exact``: the request says what the content is, to its first space. ``not_enforced`` are the fields of
    schemas that calls may not follow.
    """

    answer: AnswerFormat
    grammar: str | None
    exact: bool
    not_enforced: list[str]


def plan_answer(model: ServedModel, body: ChatBody, tools: ToolUse | None, thoughts: Thoughts | None) -> AnswerPlan:
    """Compile what ``body`` asks for; may take a second. Raises ``RequestError`` that names a field.

    ``thoughts`` are those that may come in this answer, by its prompt.
    """
    assert model.chat is not None
    asked = body_grammar(body)
    grammar, loose = _grammar(model, body, tools, thoughts, asked)
    answer = AnswerFormat(
        reasoning=None if thoughts is None else thoughts.reasoning,
        reasoning_begun=thoughts is not None and thoughts.begun,
        tools=None if tools is None else model.chat.tools,
        tool_names=frozenset() if tools is None else frozenset(tools.callable),
        many=tools is None or tools.many,
        visible=frozenset(model.marks.values()),
    )
    return AnswerPlan(answer=answer, grammar=grammar, exact=asked is not None, not_enforced=loose)


def _grammar(
    model: ServedModel, body: ChatBody, tools: ToolUse | None, thoughts: Thoughts | None, asked: str | None
) -> tuple[str | None, list[str]]:
    chat = model.chat
    assert chat is not None
    if tools is not None and (tools.constrains or asked is not None):
        check_end(body, "tools whose calls must follow a grammar")
        return _with_tools(model, chat, tools, thoughts, asked)
    if asked is not None and thoughts is not None:
        text = whole_grammar("body: @answer", thoughts, _speller(model))
        return lark_grammar_with(text, {"answer": asked}, param="response_format"), []
    return asked, []


def _with_tools(
    model: ServedModel, chat: ChatFormat, tools: ToolUse, thoughts: Thoughts | None, asked: str | None
) -> tuple[str, list[str]]:
    schemas, loose = tools.schemas()
    spell = _speller(model)
    answers = {} if asked is None or tools.forced else {"answer": asked}
    rules = tool_grammar(chat.tools, spell, schemas, forced=tools.forced, many=tools.many, answer=bool(answers))
    return lark_grammar_with(whole_grammar(rules, thoughts, spell), answers, param="tools"), loose


def _speller(model: ServedModel) -> Spell:
    def spell(mark: str) -> str:
        return f"<[{model.marks[mark]}]>" if mark in model.marks else literal(mark)

    return spell
