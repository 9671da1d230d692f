"""What an answer may look like, as one grammar: from a JSON schema, a regular expression, choices, Lark or GBNF.

A grammar is a text that llguidance (https://github.com/guidance-ai/llguidance) compiles. What it cannot compile, or
would follow only in part, is refused here with the reason, before the engine hears of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmrt.errors import RequestError
from llmrt.text.grammar_text import check_grammar_text
from llmrt.text.json_schema import schema_text
from llmrt.text.schema_blame import blamed_keyword
from llmrt.text.schema_references import JsonSchema, spell_pointer

if TYPE_CHECKING:
    from llguidance import LLParserLimits

MAX_GRAMMAR_CHARS = 1 << 18
MAX_REGEX_CHARS = 1 << 14
MAX_CHOICES = 4096

MAX_ROW_ITEMS = 20_000  # about 4 for each property that may come next

_MAX_REASON_CHARS = 300
_PLAIN = {
    "NoExtensionBias": "it allows no text at all",
    "oneOf constraints are not supported": "its alternatives do not exclude each other, as far as that is seen",
    "Default retriever does not fetch resources": "it leads out of the schema, and nothing is fetched",
}
_CODE_POINT = re.compile(r"(?<!\\)\\(?:u([0-9A-Fa-f]{4})|U(000[0-9A-Fa-f]{5}|0010[0-9A-Fa-f]{4}))")
_CLASS_OR_ESCAPED = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\.", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_RANGE_TO_DIGITS = re.compile(r"[^\\\[^]-\\[dD]")
_DIGITS = {"d": "[0-9]", "D": "[^0-9]"}
_INLINE_SCHEMA = re.compile(r"%json\s*")
_WITHOUT_EFFECT = {
    r"%llguidance\s*\{\s*[^}\s]": "options of %llguidance are",
    r"(?m)^[^\"/#]*\[[^\]]*\b(stop|temperature)\s*=": "the rule attributes stop and temperature are",
    r"(?m)^[^\"/#]*<[^>\s]+>": "special tokens are",
}


def json_schema_grammar(schema: object, *, param: str) -> str:
    """The JSON texts that ``schema`` (parsed JSON) describes.

    Raises ``RequestError`` that names ``param`` and, where one is to blame, the keyword and its place.
    """
    from llguidance import LLMatcher

    grammar = LLMatcher.grammar_from_json_schema(schema_text(schema, param=param))
    if (fault := _fault(grammar)) is None:
        return grammar
    at = blamed_keyword(schema, _is_possible) if isinstance(schema, dict) else None
    raise _refusal(fault, param if at is None else f"{param}: {at[-1]} at {spell_pointer(at)}", param)


def _is_possible(schema: JsonSchema) -> bool:
    from llguidance import LLMatcher

    try:
        return _fault(LLMatcher.grammar_from_json_schema(schema_text(schema, param=""))) is None
    except RequestError:
        return False


def json_object_grammar() -> str:
    """Any JSON object."""
    return json_schema_grammar({"type": "object"}, param="")


def regex_grammar(regex: str, *, param: str) -> str:
    r"""The texts that ``regex`` matches as a whole, in which ``\d`` is 0 to 9 and no digit of another script.

    Raises ``RequestError`` that names ``param``.
    """
    from llguidance import LLMatcher

    check_grammar_text(regex, MAX_REGEX_CHARS, param)
    return _checked(LLMatcher.grammar_from_regex(_with_ascii_digits(regex, param)), param)


def _with_ascii_digits(regex: str, param: str) -> str:
    """A class within a class is part of it, but behind a ``-`` its bracket would be the end of a range."""

    def spelled(part: re.Match[str]) -> str:
        if part[0].startswith("[") and (found := _RANGE_TO_DIGITS.search(part[0])):
            raise RequestError(
                rf"{param}: {found[0]} in brackets would be a range; write \- for the character -.", param=param
            )
        return _ESCAPED.sub(lambda escaped: _DIGITS.get(escaped[1], escaped[0]), part[0])

    return _CLASS_OR_ESCAPED.sub(spelled, regex)


def choice_grammar(choices: Sequence[str], *, param: str) -> str:
    """One of ``choices``, as it is written. Raises ``RequestError`` that names ``param``."""
    if not choices:
        raise RequestError(f"{param} is empty; it needs a choice.", param=param)
    if len(choices) > MAX_CHOICES:
        raise RequestError(f"{param} has {len(choices)} choices; {MAX_CHOICES} are possible.", param=param)
    literals = [json.dumps(choice, ensure_ascii=False) for choice in choices]
    return lark_grammar(f"start: CHOICE\nCHOICE: {' | '.join(literals)}", param=param)  # one word of the grammar


def lark_grammar(text: str, *, param: str) -> str:
    """A grammar in llguidance's form of Lark, of llmrt's own making: all that llguidance knows is possible.

    Schemas behind ``%json`` come from ``schema_text``. Raises ``RequestError`` that names ``param``.
    """
    check_grammar_text(text, MAX_GRAMMAR_CHARS, param)
    return _checked(text, param)


def lark_grammar_with(text: str, grammars: Mapping[str, str], *, param: str) -> str:
    """A Lark grammar that refers to other compiled ``grammars`` by ``@name``. Raises as ``lark_grammar``."""
    if not grammars:
        return lark_grammar(text, param=param)
    check_grammar_text(text, MAX_GRAMMAR_CHARS, param)
    others = [{**_as_object(grammar), "name": name} for name, grammar in grammars.items()]
    return _checked(json.dumps({"grammars": [{"lark_grammar": text}, *others]}), param)


def written_grammar(text: str, *, param: str) -> str:
    """A grammar that a client wrote, in Lark or in GBNF. Raises ``RequestError`` that names ``param``."""
    from llguidance.gbnf_to_lark import gbnf_to_lark, is_lark_syntax

    check_grammar_text(text, MAX_GRAMMAR_CHARS, param)
    try:
        lark = text if is_lark_syntax(text) else gbnf_to_lark(_CODE_POINT.sub(_character, text))
    except Exception as error:  # the library raises bare exceptions
        raise _refusal(f"it is neither Lark nor GBNF: {error}", param, param) from error
    return lark_grammar(_enforced(lark, param), param=param)


def _character(code_point: re.Match[str]) -> str:
    """What GBNF writes as a code point, in a form that is read the same way in Lark."""
    number = int(code_point[1] or code_point[2], 16)
    return f"\\x{number:02x}" if number < 0x80 else chr(number)


def _enforced(lark: str, param: str) -> str:
    """``lark`` with its schemas checked; refused where it asks for what has no effect here."""
    for pattern, what in _WITHOUT_EFFECT.items():
        if re.search(pattern, lark):
            raise _refusal(f"{what} not supported", param, param)
    head, *parts = _INLINE_SCHEMA.split(lark)
    return head + "".join(f"%json {_with_checked_schema(part, param)}" for part in parts)


def _with_checked_schema(text: str, param: str) -> str:
    """``text`` begins with a schema."""
    try:
        schema, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise _refusal(f"no JSON follows %json ({error})", param, param) from error
    return schema_text(schema, param=param) + text[end:]


def parser_limits() -> LLParserLimits:
    """What a grammar may cost, the same where it is checked and where it is followed."""
    from llguidance import LLParserLimits

    return LLParserLimits(max_items_in_row=MAX_ROW_ITEMS, verbose_errors=False)


def one_line(message: str) -> str:
    """llguidance's reason in one line: the first one, or the one that a regular expression's error ends with."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reason = next((line for line in lines if line.startswith("error: ")), lines[0] if lines else "no reason given")
    reason = reason.removeprefix("error: ").removesuffix("<non-verbose/>").strip(" .")
    plain = (text for words, text in _PLAIN.items() if words in reason)
    return next(plain, reason)[:_MAX_REASON_CHARS]


def _as_object(grammar: str) -> Mapping[str, object]:
    """A compiled grammar in llguidance's own form, in which Lark is one of several kinds."""
    if not grammar.startswith("{"):
        return {"lark_grammar": grammar}
    (single,) = json.loads(grammar)["grammars"]
    return single


def _checked(grammar: str, param: str) -> str:
    if (fault := _fault(grammar)) is not None:
        raise _refusal(fault, param, param)
    return grammar


def _fault(grammar: str) -> str | None:
    """Why ``grammar`` cannot be followed; None if it can, as far as that is seen without a model's vocabulary."""
    from llguidance import LLMatcher

    from llmrt.text.grammar_vocabulary import byte_vocabulary

    is_error, messages = LLMatcher.validate_grammar_with_warnings(grammar, limits=parser_limits())
    if is_error:
        return one_line(messages[0])
    if messages:  # it names special tokens, which only the model's own vocabulary has
        return None
    matcher = LLMatcher(byte_vocabulary(), grammar, log_level=0, limits=parser_limits())
    matcher.compute_bitmask()
    return one_line(matcher.get_error()) if matcher.is_error() else None


def _refusal(reason: str, what: str, param: str) -> RequestError:
    return RequestError(f"{what} cannot be followed: {reason}.", param=param, code="invalid_grammar")
