"""The slash commands of ``llmrt chat``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmrt.cli import sampling
from llmrt.cli.answer import Statistics
from llmrt.cli.conversation import Conversation
from llmrt.cli.spellings import name_here
from llmrt.errors import RequestError

NO_SYSTEM = "none"

_MORE_USAGES = (("/set verbose", "Show /stats after each answer, until /set quiet."), ("/exit", "Leave."))

HELP_ON_INPUT = '''\
Enter sends. For a new line: Alt+Enter, or \\ at a line's end, or a block from
""" to """. Up and Down bring back earlier messages.
Ctrl+C stops an answer and keeps its beginning; Ctrl+D leaves.
What begins with / is a command; a space before it makes it a message.'''


@dataclass(frozen=True)
class Command:
    """``run`` gets what stands after the name and returns what to print."""

    usage: str
    summary: str
    run: Callable[[Conversation, str], str]


def is_command(line: str) -> bool:
    """Whether ``line`` is meant for ``run_command``."""
    return line.startswith("/")


def run_command(conversation: Conversation, line: str) -> str | None:
    """Do what ``line`` says; returns what to print, None to leave.

    Raises ``RequestError`` for a command that is not known or a value that cannot be.
    """
    name, _, rest = line.strip().partition(" ")
    if name in ("/exit", "/quit", "/bye"):
        return None
    command = COMMANDS.get(OTHER_NAMES.get(name, name))
    if command is None:
        raise RequestError(f"There is no command {name}; /help lists them.")
    return command.run(conversation, rest.strip())


def _help(_: Conversation, rest: str) -> str:
    usages = [(command.usage, command.summary) for command in COMMANDS.values()]
    width = max(len(usage) for usage, _ in usages)
    lines = [f"{usage:{width}}  {summary}" for usage, summary in [*usages, *_MORE_USAGES]]
    return "\n".join([*lines, "", HELP_ON_INPUT])


def _system(conversation: Conversation, rest: str) -> str:
    if rest:
        conversation.system = None if rest == NO_SYSTEM else rest
    return f"system message: {conversation.system or NO_SYSTEM}"


def _set(conversation: Conversation, rest: str) -> str:
    if not rest:
        return sampling.describe(conversation.params)
    if rest in ("verbose", "quiet"):
        conversation.verbose = rest == "verbose"
        return f"/stats {'follow each answer' if conversation.verbose else 'come when asked for'}"
    name, _, value = rest.removeprefix("parameter ").strip().partition(" ")
    name = name_here(name)
    if name == "system":
        return _system(conversation, value.strip())
    if name == "ctx":
        raise RequestError("The context is chosen when the chat starts, by --ctx.", param="ctx")
    if not value:
        raise RequestError(f"/set {name} needs a value, such as: /set temperature 0.2")
    vocab_size = conversation.session.vocab_size
    conversation.params = sampling.set_value(conversation.params, name, value.strip(), vocab_size)
    return f"{name.replace('-', '_')} is {value.strip()}"


def _clear(conversation: Conversation, rest: str) -> str:
    conversation.clear()
    return "The conversation begins anew."


def statistics(conversation: Conversation, rest: str = "") -> str:
    """What there is to say of the last answer."""
    last = conversation.session.last
    if last is None:
        return "There is no answer yet."
    used = last.num_prompt_tokens + last.num_output_tokens
    rows = [
        ("prompt", f"{last.num_prompt_tokens} tokens, {last.num_cached_tokens} of them cached"),
        ("answer", f"{last.num_output_tokens} tokens, ended by {_ending(last)}"),
        ("first token", "none" if last.time_to_first_token is None else f"after {last.time_to_first_token:.2f} s"),
        ("speed", "unknown" if last.decode_rate is None else f"{last.decode_rate:.1f} tokens/s"),
        ("context", f"{used} of {conversation.session.context_length or 'an unknown number of'} tokens"),
    ]
    return "\n".join(f"{label:11}  {value}" for label, value in rows)


def _ending(last: Statistics) -> str:
    endings = {"stop": "the model", "length": "its length", "abort": "Ctrl+C"}
    return endings.get(last.finish_reason, last.finish_reason)


# As Ollama calls them; so are /bye, /set parameter NAME VALUE and /set system TEXT.
OTHER_NAMES = {"/?": "/help"}

COMMANDS = {
    "/help": Command("/help", "List these commands.", _help),
    "/system": Command("/system [TEXT]", f"Show or set the system message; {NO_SYSTEM} takes it away.", _system),
    "/set": Command("/set [NAME VALUE]", "Show or change the sampling settings.", _set),
    "/clear": Command("/clear", "Forget the conversation; the system message stays.", _clear),
    "/stats": Command("/stats", "Tokens and speed of the last answer.", statistics),
}
