"""Whatever an error quotes of a file or a request, it is one line that a terminal can show."""

from __future__ import annotations

import pytest

from llmrt.errors import ContextLengthError, LlmrtError, RequestError


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("temperature is 3.", "temperature is 3."),
        ("日本 é 🎉", "日本 é 🎉"),
        ("a\nb\r\n\tc\u2028d\x85e", "a b   c d e"),
        ("/a\u00a0b/日\u3000本 is no file", "/a\u00a0b/日\u3000本 is no file"),
        ("tensor \x1b[2J\x07\x00", "tensor \\x1b[2J\\x07\\x00"),
        ("half a \ud800 pair", "half a \\ud800 pair"),
        ("right \u202e left", "right \\u202e left"),
    ],
)
def test_a_message_is_one_line_of_what_can_be_printed(message: str, shown: str) -> None:
    assert str(LlmrtError(message)) == shown
    shown.encode()


def test_the_middle_of_a_long_message_is_left_out() -> None:
    message = str(RequestError("stop is " + "x" * 10**6 + "; it must be short.", param="stop"))
    assert len(message) <= 2000
    assert message.startswith("stop is xxx") and " ... " in message and message.endswith("xxx; it must be short.")
    assert str(RequestError(message)) == message
    escaped = str(LlmrtError("\x01" * 3000))
    assert len(escaped) <= 2000 and escaped.startswith("\\x01\\x01") and escaped.endswith("\\x01\\x01")
    assert str(LlmrtError("x" * 2000)) == "x" * 2000


def test_fields_of_an_error_are_kept() -> None:
    error = ContextLengthError(9, 8)
    assert (error.num_tokens, error.param, error.code) == (9, "messages", "context_length_exceeded")
