"""What an answer may look like, as one grammar: from a JSON schema, a regular expression, choices, Lark or GBNF.

A grammar is a text that llguidance (https://github.com/guidance-ai/llguidance) compiles. What it cannot compile, or
would follow only in part, is refused here with the reason, before the engine hears of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmrt.errors import RequestError
from llmrt.text.json_schema import schema_text

if TYPE_CHECKING:
    from llguidance import LLParserLimits

MAX_GRAMMAR_CHARS = 1 << 18
MAX_REGEX_CHARS = 1 << 14
MAX_CHOICES = 4096

_MAX_REASON_CHARS = 300


def json_schema_grammar(schema: object, *, param: str) -> str:
    """The JSON texts that ``schema`` (parsed JSON) describes. Raises ``RequestError`` that names ``param``."""
    from llguidance import LLMatcher

    return _checked(LLMatcher.grammar_from_json_schema(schema_text(schema, param=param)), param)


def json_object_grammar() -> str:
    """Any JSON object."""
    return json_schema_grammar({"type": "object"}, param="")


def regex_grammar(regex: str, *, param: str) -> str:
    """The texts that ``regex`` matches as a whole. Raises ``RequestError`` that names ``param``."""
    from llguidance import LLMatcher

    _check_length(regex, MAX_REGEX_CHARS, param)
    return _checked(LLMatcher.grammar_from_regex(regex), param)


def choice_grammar(choices: Sequence[str], *, param: str) -> str:
    """One of ``choices``, as it is written. Raises ``RequestError`` that names ``param``."""
    if not choices:
        raise RequestError(f"{param} is empty; it needs a choice.", param=param)
    if len(choices) > MAX_CHOICES:
        raise RequestError(f"{param} has {len(choices)} choices; {MAX_CHOICES} are possible.", param=param)
    literals = [json.dumps(choice, ensure_ascii=False) for choice in choices]
    return lark_grammar(f"start: {' | '.join(literals)}", param=param)


def lark_grammar(text: str, *, param: str) -> str:
    """A grammar in llguidance's form of Lark. Raises ``RequestError`` that names ``param``."""
    _check_length(text, MAX_GRAMMAR_CHARS, param)
    return _checked(text, param)


def lark_grammar_with(text: str, grammars: Mapping[str, str], *, param: str) -> str:
    """A Lark grammar that refers to other compiled ``grammars`` by ``@name``. Raises as ``lark_grammar``."""
    if not grammars:
        return lark_grammar(text, param=param)
    _check_length(text, MAX_GRAMMAR_CHARS, param)
    others = [{**_as_object(grammar), "name": name} for name, grammar in grammars.items()]
    return _checked(json.dumps({"grammars": [{"lark_grammar": text}, *others]}), param)


def written_grammar(text: str, *, param: str) -> str:
    """A grammar in Lark or in GBNF, whichever ``text`` is. Raises ``RequestError`` that names ``param``."""
    from llguidance.gbnf_to_lark import any_to_lark

    _check_length(text, MAX_GRAMMAR_CHARS, param)
    try:
        lark = any_to_lark(text)
    except Exception as error:  # the library raises bare exceptions
        raise _refusal(f"it is neither Lark nor GBNF: {error}", param) from error
    return lark_grammar(lark, param=param)


def parser_limits() -> LLParserLimits:
    """What a grammar may cost, the same where it is checked and where it is followed."""
    from llguidance import LLParserLimits

    return LLParserLimits(verbose_errors=False)


def one_line(message: str) -> str:
    """llguidance's reason in one line: the first one, or the one that a regular expression's error ends with."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reason = next((line for line in lines if line.startswith("error: ")), lines[0] if lines else "no reason given")
    return reason.removeprefix("error: ")[:_MAX_REASON_CHARS]


def _as_object(grammar: str) -> Mapping[str, object]:
    """A compiled grammar in llguidance's own form, in which Lark is one of several kinds."""
    if not grammar.startswith("{"):
        return {"lark_grammar": grammar}
    (single,) = json.loads(grammar)["grammars"]
    return single


def _checked(grammar: str, param: str) -> str:
    from llguidance import LLMatcher

    is_error, messages = LLMatcher.validate_grammar_with_warnings(grammar, limits=parser_limits())
    if is_error:
        raise _refusal(one_line(messages[0]), param)
    return grammar


def _refusal(reason: str, param: str) -> RequestError:
    return RequestError(f"{param} cannot be followed: {reason}.", param=param, code="invalid_grammar")


def _check_length(text: str, limit: int, param: str) -> None:
    if len(text) > limit:
        raise RequestError(f"{param} has {len(text)} characters; {limit} are possible.", param=param)
