"""``llmrt chat``: a conversation with a model, in the terminal or in one line of a script."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmrt.cli.chat_commands import is_command, run_command, statistics
from llmrt.cli.conversation import Conversation, length_note
from llmrt.cli.engine_options import SessionOptions
from llmrt.cli.options import MODEL_HELP, complete_model, is_on_command_line
from llmrt.cli.remote import RemoteSession
from llmrt.cli.sampling import (
    CHAT_FALLBACK,
    DrawingOptions,
    check,
    override,
    recommended,
)
from llmrt.cli.session import Session, find_model
from llmrt.cli.terminal import behind_piped_text, complain, read_stdin, say, write, write_answer
from llmrt.errors import ConfigError, ContextLengthError, LlmrtError, RequestError

if TYPE_CHECKING:
    from llmrt.cli.line_editor import LineEditor


def chat(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help=f"{MODEL_HELP} With --url, a name that the server has.", autocompletion=complete_model
        ),
    ] = None,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="Answer this one message and exit, as with --prompt.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Answer this one message and exit; the text of a pipe goes before it.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="The system message: how the model should answer.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="How freely tokens are drawn, 0 to 2; 0 is the likeliest.")
    ] = None,
    drawing: DrawingOptions = DrawingOptions(),
    max_tokens: Annotated[int | None, typer.Option(help="End an answer after so many tokens.")] = None,
    options: SessionOptions = SessionOptions(),
    url: Annotated[
        str | None, typer.Option(help="Talk to an OpenAI-compatible server, such as http://127.0.0.1:8000.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="LLMRT_API_KEY", help="The key that the server of --url asks for.")
    ] = None,
) -> None:
    """Talk to a model in the terminal, or to one that a server has.

    Sampling that is not given is as the model's publisher recommends, else temperature 0.7 and top-p 0.95.
    """
    chosen = {"temperature": temperature, **vars(drawing), "max_tokens": max_tokens}
    message = _single_message(_prompt(words, prompt))
    if url is None:
        conversation = _local_conversation(model, options, chosen)
    else:
        _refuse_local_options(context)
        conversation = _remote_conversation(url, model, api_key, chosen)
    conversation.system = system
    if message is not None:
        _print_answer(conversation, message)
    else:
        _talk_on_terminal(conversation)


def _remote_conversation(url: str, model: str | None, api_key: str | None, chosen: Mapping[str, Any]) -> Conversation:
    remote = RemoteSession(url, model, api_key)
    params = override(CHAT_FALLBACK, **chosen)
    check(params, remote.vocab_size)
    say(f"talking to {remote.model} at {remote.url}")
    return Conversation(remote, params)


def _local_conversation(model: str | None, options: SessionOptions, chosen: Mapping[str, Any]) -> Conversation:
    if model is None:
        raise ConfigError("chat needs a MODEL, or the --url of a server that has one.")
    local = find_model(model, options.revision)
    _ = local.chat_template  # a model without one is refused before its weights load
    vocab_size = local.tokenizer.vocab_size
    params = override(recommended(local.defaults, vocab_size), **chosen, stop_token_ids=local.tokenizer.eos_token_ids)
    check(params, vocab_size)
    return Conversation(Session.open(local, options.session_config(local.tokenizer)), params)


def _refuse_local_options(context: typer.Context) -> None:
    for field in fields(SessionOptions):
        if is_on_command_line(context, field.name):
            option = f"--{field.name.replace('_', '-')}"
            raise ConfigError(f"{option} is for a model in this process; leave it out with --url.")


def talk(conversation: Conversation, editor: LineEditor) -> None:
    """Read and answer until the user leaves. Ctrl+C ends an answer or a line, never the conversation."""
    staying = True
    while staying:
        try:
            staying = _turn(conversation, editor.read())
        except KeyboardInterrupt:
            say("(Ctrl+D or /exit leaves)")


def _turn(conversation: Conversation, line: str | None) -> bool:
    """Act on what was typed; False to leave."""
    if line is None:
        return False
    try:
        if is_command(line):
            return _command(conversation, line)
        if line.strip():
            _interruptible_answer(conversation, line)
    except ContextLengthError as error:
        complain(LlmrtError(_context_is_full(error)))
    except LlmrtError as error:
        complain(error)
    return True


def _command(conversation: Conversation, line: str) -> bool:
    reply = run_command(conversation, line)
    if reply is not None:
        say(reply)
    return reply is not None


def _interruptible_answer(conversation: Conversation, line: str) -> None:
    before = len(conversation.messages)
    try:
        _print_answer(conversation, line)
    except KeyboardInterrupt:
        write("\n")
        kept = len(conversation.messages) > before
        say("(stopped)" if kept else "(stopped before the answer began; the message is not kept)")


def _print_answer(conversation: Conversation, message: str) -> None:
    write_answer(conversation.ask(message))
    session = conversation.session
    if note := length_note(session.last, conversation.params, session.context_length):
        say(note)
    if conversation.verbose:
        say(statistics(conversation))


def _context_is_full(error: ContextLengthError) -> str:
    return (
        f"The conversation has {error.num_tokens} tokens with this message, the context {error.context_length}:"
        " /clear begins anew (Up brings the message back), --ctx gives a longer context."
    )


def _prompt(words: list[str] | None, option: str | None) -> str | None:
    if words and option is not None:
        raise RequestError("There are two messages; give one, after the model or with --prompt.", param="prompt")
    return " ".join(words) if words else option


def _single_message(prompt: str | None) -> str | None:
    """The message of --prompt or of a pipe; None for a conversation on the terminal."""
    if prompt is None and sys.stdin.isatty() and sys.stdout.isatty():
        return None
    if prompt is None and sys.stdin.isatty():
        say("Type the message; Ctrl+D on a line of its own ends it.")
    message = read_stdin("The message") if prompt is None else behind_piped_text(prompt, "The message")
    if not message.strip():
        raise RequestError(
            "The message is empty; give one behind MODEL, with --prompt or through a pipe.", param="prompt"
        )
    return message


def _talk_on_terminal(conversation: Conversation) -> None:
    from llmrt.cli.line_editor import LineEditor, open_history

    say("/help lists the commands, Ctrl+D leaves.")
    talk(conversation, LineEditor(open_history()))
