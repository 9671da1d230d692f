"""A call written as a JSON object: ``{"name": "f", "arguments": {...}}``."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping

from llmrt.text.answer_parts import Arguments, CallEnd, CallStart, Parse, Source
from llmrt.text.json_text import parse_json
from llmrt.text.tool_formats.json_scan import JsonScan

# The usual order of the keys, which lets the arguments be given out while they come.
_HEAD = re.compile(
    r'\s*\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\S)'
)
# An object whose first key, or lack of keys, says that it is no call.
_FIRST_KEY = re.compile(r'\s*\{\s*(?:\}|"(?!(?:name|arguments|parameters|type|function|id)")[^"\\]*["\\]|[^\s"}])')


def call_object(source: Source, names: Collection[str] | None = None) -> Parse[bool]:
    """Take one call; false, and nothing taken, where the text is something else.

    With ``names``, an object that calls another name is something else too.
    """
    scan, scanned = JsonScan(), 0
    while True:
        if head := _HEAD.match(source.text):
            name = _string(head[1])
            if name is None or not _is_known(name, names):
                return False
            source.take(head.end())
            yield from _call(source, name)
            return True
        if source.text.lstrip()[:1] not in ("", "{") or _FIRST_KEY.match(source.text):
            return False
        end = scan.feed(source.text[scanned:])
        if end is not None:
            return (yield from _whole(source, scanned + end, names))
        if source.closed:
            return False
        scanned = len(source.text)
        yield None


def arguments(source: Source) -> Parse[bool]:
    """Take a JSON value as arguments; false if it is cut off. One in quotes is what the quotes hold."""
    if source.text[0] == '"':
        return (yield from _quoted(source))
    if source.text[0] not in "{[":  # null and the like: no arguments
        yield Arguments("{}")
        return True
    scan = JsonScan()
    while True:
        end = scan.feed(source.text)
        if source.text:
            yield Arguments(source.take(len(source.text) if end is None else end))
        if end is not None:
            return True
        if source.closed:
            return False
        yield None


def _call(source: Source, name: str) -> Parse[None]:
    yield CallStart(name)
    if not (yield from arguments(source)):
        return
    yield CallEnd()
    scan = JsonScan(depth=1)  # past what else the object has
    while (end := scan.feed(source.text)) is None:
        source.take(len(source.text))
        if source.closed:
            return
        yield None
    source.take(end)


def _quoted(source: Source) -> Parse[bool]:
    scan, scanned = JsonScan(), 0
    while (end := scan.feed(source.text[scanned:])) is None:
        if source.closed:
            yield Arguments(source.take(len(source.text)))
            return False
        scanned = len(source.text)
        yield None
    text = source.take(scanned + end)
    yield Arguments(_string(text) or text)
    return True


def _whole(source: Source, end: int, names: Collection[str] | None) -> Parse[bool]:
    """A whole object whose keys come in another order."""
    try:
        call = _as_call(parse_json(source.text[:end]))
    except ValueError:
        return False
    if call is None or not _is_known(call[0], names):
        return False
    source.take(end)
    yield CallStart(call[0])
    yield Arguments(call[1])
    yield CallEnd()
    return True


def _as_call(value: Mapping[str, object]) -> tuple[str, str] | None:
    function = value.get("function")
    if isinstance(function, Mapping):
        return _as_call(function)
    name = value.get("name", function)
    given = value.get("arguments", value.get("parameters")) or {}
    if not isinstance(name, str):
        return None
    return name, given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _is_known(name: str, names: Collection[str] | None) -> bool:
    return names is None or name in names


def _string(text: str) -> str | None:
    try:
        value = parse_json(text, strict=False)
    except ValueError:
        return None
    return value if isinstance(value, str) else None
