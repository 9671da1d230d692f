"""``llmrt generate``: one completion of a plain text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated, Any

import typer

from llmrt.cli.conversation import length_note
from llmrt.cli.engine_options import SessionOptions
from llmrt.cli.options import Model
from llmrt.cli.sampling import DrawingOptions, check, override
from llmrt.cli.session import Session, find_model
from llmrt.cli.tables import print_json
from llmrt.cli.terminal import behind_piped_text, read_stdin, say, write_answer
from llmrt.engine.request import SamplingParams
from llmrt.errors import RequestError


def generate(
    model: Model,
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="The text to continue, after that of a pipe; - or none is that alone."),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="End after so many tokens.")] = 128,
    temperature: Annotated[float, typer.Option(help="How freely tokens are drawn, 0 to 2; 0 is the likeliest.")] = 0.0,
    drawing: DrawingOptions = DrawingOptions(),
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be given several times.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print text, token ids, usage and timings as JSON.")] = False,
    options: SessionOptions = SessionOptions(),
) -> None:
    """Continue one plain text, without a chat template, and print what follows."""
    text = _prompt_text(prompt)
    local = find_model(model, options.revision)
    params = override(
        SamplingParams(temperature=temperature, max_tokens=max_tokens, stop_token_ids=local.tokenizer.eos_token_ids),
        **vars(drawing),
    )
    check(params, local.tokenizer.vocab_size)
    session = Session.open(local, options.session_config(local.tokenizer))
    if as_json:
        print_json(completion(session, text, params, stop or ()))
    else:
        _print_completion(session, text, params, stop or ())


def completion(session: Session, prompt: str, params: SamplingParams, stop: Sequence[str]) -> dict[str, Any]:
    """What ``--json`` prints: times in seconds, None where there was no token to time."""
    with closing(session.stream(session.encode(prompt), params, stop=stop)) as pieces:
        text = "".join(pieces)
    last = session.last
    assert last is not None
    return {
        "model": session.model.name,
        "text": text,
        "token_ids": last.token_ids,
        "finish_reason": last.finish_reason,
        "stop": last.stop,
        "usage": {
            "prompt_tokens": last.num_prompt_tokens,
            "cached_tokens": last.num_cached_tokens,
            "completion_tokens": last.num_output_tokens,
        },
        "timings": {
            "time_to_first_token_seconds": last.time_to_first_token,
            "decode_tokens_per_second": last.decode_rate,
        },
    }


def _print_completion(session: Session, prompt: str, params: SamplingParams, stop: Sequence[str]) -> None:
    write_answer(session.stream(session.encode(prompt), params, stop=stop))
    if note := length_note(session.last, params, session.context_length):
        say(note)


def _prompt_text(prompt: str | None) -> str:
    if prompt is not None and prompt != "-":
        return behind_piped_text(prompt, "The prompt")
    if prompt is None and sys.stdin.isatty():
        raise RequestError("PROMPT is missing: write it after the model, or send it through a pipe.", param="prompt")
    return read_stdin("The prompt")
