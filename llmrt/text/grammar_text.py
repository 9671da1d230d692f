"""What every text that is compiled into a grammar must be: a schema, an expression or a grammar itself."""

from __future__ import annotations

from llmrt.errors import RequestError


def check_grammar_text(text: str, limit: int, param: str) -> None:
    """Raise ``RequestError`` that names ``param`` for a text of more characters, or of half a surrogate pair."""
    if len(text) > limit:
        raise RequestError(f"{param} has {len(text)} characters; {limit} are possible.", param=param)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(f"{param} has half a surrogate pair, which no text has.", param=param) from None
