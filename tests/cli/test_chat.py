"""``llmrt chat`` as a user types into it, with the real line editor and answers from a script or a tiny model."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

import platformdirs
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from llmrt.cli.answer import Statistics
from llmrt.cli.chat import talk
from llmrt.cli.chat_commands import COMMANDS
from llmrt.cli.conversation import Conversation
from llmrt.cli.line_editor import LineEditor, open_history
from llmrt.cli.sampling import recommended
from llmrt.cli.session import Session, find_model
from llmrt.config import EngineConfig
from llmrt.engine.request import EndReason, SamplingParams
from llmrt.errors import ContextLengthError, LlmrtError, TemplateError
from llmrt.text.generation_defaults import GenerationDefaults
from tests.cli.conftest import CommandLine
from tests.cli.tiny_model import make_tiny_llama

ENTER, ALT_ENTER, CTRL_C, CTRL_D, UP = "\r", "\x1b\r", "\x03", "\x04", "\x1b[A"


class ScriptedSession:
    """Answers with ``pieces``; ``stops_after`` so many of them somebody presses Ctrl+C."""

    context_length = 4096
    vocab_size = 1000

    def __init__(self, *pieces: str, stops_after: int | None = None, finish_reason: EndReason = "stop") -> None:
        self.pieces = pieces
        self.stops_after = stops_after
        self.finish_reason: EndReason = finish_reason
        self.refusal: LlmrtError | None = None
        self.last: Statistics | None = None
        self.asked: list[list[Mapping[str, object]]] = []

    def answer(self, messages: Sequence[Mapping[str, object]], params: SamplingParams) -> Generator[str]:
        if not isinstance(self.refusal, TemplateError):
            self.asked.append(list(messages))
        if self.refusal is not None:
            raise self.refusal
        for count, piece in enumerate(self.pieces):
            if count == self.stops_after:
                signal.raise_signal(signal.SIGINT)
            yield piece
        self.last = Statistics(
            num_prompt_tokens=7,
            num_cached_tokens=4,
            num_output_tokens=len(self.pieces),
            time_to_first_token=0.25,
            decode_rate=12.34,
            finish_reason=self.finish_reason,
            stop=None,
        )


@pytest.fixture
def keyboard() -> Iterator[PipeInput]:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield keys


def chat_with(session: ScriptedSession) -> Conversation:
    return Conversation(session, SamplingParams(temperature=0.7))


def converse(keyboard: PipeInput, conversation: Conversation, *lines: str) -> None:
    """Type the lines, each sent by Enter, and leave by Ctrl+D."""
    keyboard.send_text("".join(line + ENTER for line in lines) + CTRL_D)
    talk(conversation, LineEditor(InMemoryHistory()))


def test_the_conversation_grows_turn_by_turn(keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    session = ScriptedSession("Hel", "lo.")
    conversation = chat_with(session)
    conversation.system = "Be brief."
    converse(keyboard, conversation, "one", "", "  ", "two")
    system, one, two = (
        {"role": r, "content": c} for r, c in [("system", "Be brief."), ("user", "one"), ("user", "two")]
    )
    reply = {"role": "assistant", "content": "Hello."}
    assert session.asked == [[system, one], [system, one, reply, two]]
    assert conversation.messages == [one, reply, two, reply]
    assert capsys.readouterr().out == "Hello.\nHello.\n"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (f"one{ALT_ENTER}two", "one\ntwo"),
        (f"one\\{ENTER}two", "one\ntwo"),
        (f'"""{ENTER}one{ENTER}{ENTER}two\\{ENTER}"""', "one\n\ntwo\\"),
        ('"""one line"""', "one line"),
        ('say """ loud', 'say """ loud'),
        (" /not a command", " /not a command"),
        ("wörld 🌍", "wörld 🌍"),
    ],
)
def test_messages_of_several_lines(keyboard: PipeInput, typed: str, message: str) -> None:
    session = ScriptedSession("ok")
    converse(keyboard, chat_with(session), typed)
    assert session.asked == [[{"role": "user", "content": message}]]


class WatchedHistory(InMemoryHistory):
    """Calls ``when_loaded`` once the editor has all of it, which is a little after the prompt appears."""

    def __init__(self, strings: list[str], when_loaded: Callable[[], None]) -> None:
        super().__init__(strings)
        self._when_loaded = when_loaded

    async def load(self) -> AsyncGenerator[str, None]:
        async for string in super().load():
            yield string
        self._when_loaded()


def test_up_brings_a_message_back(keyboard: PipeInput) -> None:
    history = WatchedHistory(["first", "second"], lambda: keyboard.send_text(f"{UP}{UP}{ENTER}"))
    assert LineEditor(history).read() == "first"


def test_ctrl_c_ends_the_answer_and_keeps_its_beginning(
    keyboard: PipeInput, capsys: pytest.CaptureFixture[str]
) -> None:
    session = ScriptedSession("one ", "two ", "three", stops_after=2)
    conversation = chat_with(session)
    keyboard.send_text(f"count{ENTER}/help{ENTER}{CTRL_D}")
    talk(conversation, LineEditor(InMemoryHistory()))
    out, err = capsys.readouterr()
    assert out == "one two \n"
    assert "(stopped)" in err and "/clear" in err, "the program goes on"
    assert [message["content"] for message in conversation.messages] == ["count", "one two "]


def test_ctrl_c_before_the_answer_forgets_the_message(keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    conversation = chat_with(ScriptedSession("never", stops_after=0))
    converse(keyboard, conversation, "hello")
    assert conversation.messages == []
    assert "not kept" in capsys.readouterr().err


def test_ctrl_c_while_typing_takes_the_line_away(keyboard: PipeInput) -> None:
    session = ScriptedSession("ok")
    converse(keyboard, chat_with(session), f"wrong{CTRL_C}right")
    assert [asked[-1]["content"] for asked in session.asked] == ["right"]


def test_a_full_context_is_one_line_and_the_conversation_stays(
    keyboard: PipeInput, capsys: pytest.CaptureFixture[str]
) -> None:
    session = ScriptedSession("ok")
    conversation = chat_with(session)
    converse(keyboard, conversation, "short")
    session.refusal = ContextLengthError(5000, 4096)
    converse(keyboard, conversation, "long")
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert all(part in err for part in ("5000", "4096", "/clear", "--ctx"))
    assert [message["content"] for message in conversation.messages] == ["short", "ok"]


def test_a_template_that_refuses_is_one_line(keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    session = ScriptedSession("ok")
    session.refusal = TemplateError("No system messages, please.")
    conversation = chat_with(session)
    converse(keyboard, conversation, "hello")
    assert capsys.readouterr().err == "error: No system messages, please.\n"
    assert conversation.messages == []


@pytest.mark.parametrize(("max_tokens", "limit"), [(2, "--max-tokens 2"), (None, "context of 4096")])
def test_an_answer_that_was_cut_says_by_what(
    keyboard: PipeInput, capsys: pytest.CaptureFixture[str], max_tokens: int | None, limit: str
) -> None:
    session = ScriptedSession("a", "b", finish_reason="length")
    conversation = Conversation(session, SamplingParams(max_tokens=max_tokens))
    converse(keyboard, conversation, "hello")
    out, err = capsys.readouterr()
    assert out == "ab\n"
    assert limit in err
    assert len(conversation.messages) == 2


def command(keyboard: PipeInput, conversation: Conversation, capsys: pytest.CaptureFixture[str], line: str) -> str:
    capsys.readouterr()
    converse(keyboard, conversation, line)
    out, err = capsys.readouterr()
    assert out == "", "only answers go to stdout"
    return err


def test_set_verbose_tells_of_each_answer(keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    converse(keyboard, chat_with(ScriptedSession("ok")), "/set verbose", "one", "two", "/set quiet", "three")
    out, err = capsys.readouterr()
    assert out == "ok\nok\nok\n" and err.count("12.3 tokens/s") == 2


def test_help_names_every_command(keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    text = command(keyboard, chat_with(ScriptedSession()), capsys, "/?")
    assert text == command(keyboard, chat_with(ScriptedSession()), capsys, "/help")
    assert all(name in text for name in [*COMMANDS, "/exit", "Alt+Enter", '"""', "Ctrl+C"])
    assert max(map(len, text.splitlines())) <= 80


def test_unknown_commands_name_help(keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    text = command(keyboard, chat_with(ScriptedSession()), capsys, "/helo there")
    assert text == "error: There is no command /helo; /help lists them.\n"


def test_system(keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    conversation = chat_with(ScriptedSession("ok"))
    assert "none" in command(keyboard, conversation, capsys, "/system")
    assert "Be a pirate." in command(keyboard, conversation, capsys, "/system Be a pirate.")
    assert conversation.system == "Be a pirate."
    assert "Be a pirate." in command(keyboard, conversation, capsys, "/system")
    command(keyboard, conversation, capsys, "/system none")
    assert conversation.system is None
    command(keyboard, conversation, capsys, "/set system Be a parrot.")
    assert conversation.system == "Be a parrot."


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        ("temperature 0.2", "temperature", 0.2),
        ("top-p   0.5", "top_p", 0.5),
        ("top_k 7", "top_k", 7),
        ("seed 3", "seed", 3),
        ("max_tokens 9", "max_tokens", 9),
        ("max_tokens none", "max_tokens", None),
        ("parameter num_predict 9", "max_tokens", 9),
        ("parameter repeat_penalty  1.5", "repetition_penalty", 1.5),
    ],
)
def test_set(keyboard: PipeInput, capsys: pytest.CaptureFixture[str], typed: str, name: str, value: object) -> None:
    conversation = Conversation(ScriptedSession(), SamplingParams(max_tokens=5))
    command(keyboard, conversation, capsys, f"/set {typed}")
    assert getattr(conversation.params, name) == value
    assert f"{name} " in command(keyboard, conversation, capsys, "/set")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("temperature 3", "temperature is 3.0; it must be at least 0.0 and at most 2.0."),
        ("temperature nan", "temperature is nan; it must be at least 0.0 and at most 2.0."),
        ("top_k 2000", "top_k is 2000; it must be at least 0 and at most 1000."),
        ("max_tokens 0", "max_tokens is 0; it must be at least 1."),
        ("top_k many", "top_k is 'many'; it must be a whole number."),
        ("seed x", "seed is 'x'; it must be a whole number or none."),
        ("temperature none", "temperature is 'none'; it must be a number."),
        ("colour red", "There is no setting 'colour'; the settings are temperature, "),
        ("temperature", "/set temperature needs a value"),
        ("parameter num_ctx 4096", "The context is chosen when the chat starts, by --ctx."),
    ],
)
def test_set_refuses(keyboard: PipeInput, capsys: pytest.CaptureFixture[str], typed: str, message: str) -> None:
    conversation = chat_with(ScriptedSession())
    before = conversation.params
    assert command(keyboard, conversation, capsys, f"/set {typed}").startswith(f"error: {message}")
    assert conversation.params == before


def test_clear_keeps_the_system_message(keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    conversation = chat_with(ScriptedSession("ok"))
    conversation.system = "Be brief."
    converse(keyboard, conversation, "hello")
    command(keyboard, conversation, capsys, "/clear")
    assert (conversation.messages, conversation.system) == ([], "Be brief.")


def test_stats(keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    conversation = chat_with(ScriptedSession("a", "b", "c"))
    assert "no answer yet" in command(keyboard, conversation, capsys, "/stats")
    converse(keyboard, conversation, "hello")
    text = command(keyboard, conversation, capsys, "/stats")
    for fact in ("7 tokens, 4 of them cached", "3 tokens", "0.25 s", "12.3 tokens/s", "10 of 4096"):
        assert fact in text


@pytest.mark.parametrize("leave", ["/exit", "/bye"])
def test_exit_leaves_at_once(keyboard: PipeInput, leave: str) -> None:
    session = ScriptedSession("ok")
    converse(keyboard, chat_with(session), leave, "never said")
    assert session.asked == []


def test_history_is_kept_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyboard: PipeInput
) -> None:
    monkeypatch.setattr(platformdirs, "user_state_path", lambda name: tmp_path / "state" / name)
    keyboard.send_text(f"remember me{ENTER}")
    assert LineEditor(open_history()).read() == "remember me"
    (file,) = (tmp_path / "state" / "llmrt").iterdir()
    assert "remember me" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_a_history_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(platformdirs, "user_state_path", lambda _: tmp_path / "file")
    assert isinstance(open_history(), InMemoryHistory)
    assert "history of messages is not kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        (GenerationDefaults(), SamplingParams(temperature=0.7, top_p=0.95)),
        (GenerationDefaults(temperature=0.6, top_k=-1), SamplingParams(temperature=0.6)),
        (GenerationDefaults(temperature=0.6, top_k=10**9), SamplingParams(temperature=0.6, top_k=300)),
        (GenerationDefaults(top_p=0.9, top_k=20), SamplingParams(temperature=1.0, top_p=0.9, top_k=20)),
        (
            GenerationDefaults(repetition_penalty=1.1),
            SamplingParams(temperature=0.7, top_p=0.95, repetition_penalty=1.1),
        ),
    ],
)
def test_sampling_that_is_not_given(defaults: GenerationDefaults, expected: SamplingParams) -> None:
    assert recommended(defaults, 300) == expected


def expected_answer(tiny: Path, message: str) -> str:
    local = find_model(str(tiny))
    session = Session.open(local, EngineConfig(threads=1))
    stop = local.tokenizer.eos_token_ids
    params = SamplingParams(temperature=0, max_tokens=12, stop_token_ids=stop)
    return "".join(Conversation(session, params).ask(message))


@pytest.mark.parametrize("piped", [False, True])
def test_a_single_message_leaves_the_answer_alone_on_stdout(tiny: Path, piped: bool) -> None:
    options = ["--temperature", "0", "--max-tokens", "12", "--threads", "1"]
    run = [sys.executable, "-c", "from llmrt.cli.main import main; main()", "chat", str(tiny), *options]
    if piped:
        done = subprocess.run(run, input="hello\nthe world\n", capture_output=True, encoding="utf-8", check=False)
        answer = expected_answer(tiny, "hello\nthe world")
    else:
        run += ["--prompt", "hello"]
        done = subprocess.run(run, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False)
        answer = expected_answer(tiny, "hello")
    assert done.returncode == 0, done.stderr
    assert done.stdout == answer.removesuffix("\n") + "\n"
    assert "using" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        ((), b"", "The message is empty"),
        (("--prompt", " "), b"", "The message is empty"),
        ((), b"\xff\xfe", "not UTF-8"),
        (("--prompt", "hi", "--temperature", "9"), b"", "--temperature is 9.0"),
        (("--prompt", "hi", "--ctx", "100000"), b"", "--ctx is 100000"),
        (("--prompt", "hi" * 600), b"", "maximum context length is 512"),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    tiny: Path, llmrt: CommandLine, arguments: tuple[str, ...], stdin: bytes, message: str
) -> None:
    status, out, err = llmrt("chat", str(tiny), *arguments, "--threads", "1", stdin=stdin)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: ") and message in err.splitlines()[-1]


def test_a_model_without_a_template_names_generate(tmp_path: Path, llmrt: CommandLine) -> None:
    model = make_tiny_llama(tmp_path / "base", chat=False)
    status, out, err = llmrt("chat", str(model), "--prompt", "hi")
    assert (status, out) == (1, "")
    assert "llmrt generate" in err.splitlines()[-1]


def test_no_command_needs_torch_to_show_its_help() -> None:
    code = (
        "import sys; from llmrt.cli import bench, chat, generate;"
        "print([name for name in ('torch', 'prompt_toolkit', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
