"""The line editor of ``llmrt chat``: history, and messages of several lines."""

from __future__ import annotations

from pathlib import Path

import platformdirs
from prompt_toolkit import PromptSession
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from llmrt.cli.terminal import say

BLOCK = '"""'
CONTINUED = "\\"


class LineEditor:
    """Reads messages from the terminal; ``history`` is what Up brings back."""

    def __init__(self, history: History) -> None:
        self._prompt: PromptSession[str] = PromptSession(
            HTML("<b>&gt;&gt;&gt; </b>"),
            history=history,
            key_bindings=_bindings(),
            multiline=True,
            prompt_continuation="... ",
        )

    def read(self) -> str | None:
        """The next message, None at Ctrl+D. Raises ``KeyboardInterrupt`` at Ctrl+C."""
        try:
            return unblock(self._prompt.prompt())
        except EOFError:
            return None


def open_history() -> History:
    """The messages of earlier conversations; kept in memory alone, and said, where their file cannot be written."""
    path = platformdirs.user_state_path("llmrt") / "chat_history"
    try:
        _touch(path)
    except OSError as error:
        say(f"note: the history of messages is not kept: {error}")
        return InMemoryHistory()
    return FileHistory(path)


def is_unfinished(text: str) -> bool:
    """Whether Enter should begin a new line: after a trailing backslash, or inside a block."""
    opened = text.lstrip().startswith(BLOCK)
    closed = text.strip().endswith(BLOCK) and len(text.strip()) >= 2 * len(BLOCK)
    return not closed if opened else text.endswith(CONTINUED)


def unblock(text: str) -> str:
    """The message in ``text``: of a block, what is between its marks."""
    if not text.lstrip().startswith(BLOCK):
        return text
    inner = text.strip().removeprefix(BLOCK).removesuffix(BLOCK)
    return inner.removeprefix("\n").removesuffix("\n")


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)  # what a person says to a model is theirs


def _bindings() -> KeyBindings:
    bindings = KeyBindings()
    editing = has_focus(DEFAULT_BUFFER)

    @bindings.add("enter", filter=editing)
    def _(event: KeyPressEvent) -> None:  # pyright: ignore[reportUnusedFunction]
        buffer = event.current_buffer
        if not is_unfinished(buffer.text):
            buffer.validate_and_handle()
            return
        if not buffer.text.lstrip().startswith(BLOCK):
            buffer.text = buffer.text.removesuffix(CONTINUED)
            buffer.cursor_position = len(buffer.text)
        buffer.newline(copy_margin=False)

    @bindings.add("escape", "enter", filter=editing)
    def _(event: KeyPressEvent) -> None:  # pyright: ignore[reportUnusedFunction]
        event.current_buffer.newline(copy_margin=False)

    return bindings
