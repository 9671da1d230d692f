"""``llmrt selftest``: what clients depend on, checked on any OpenAI-compatible server."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import typer

from llmrt.cli.tables import print_json, print_rows
from llmrt.selftest.catalogue import CHECKS
from llmrt.selftest.check import Result, run_check
from llmrt.selftest.server import find_server


def selftest(
    url: Annotated[str, typer.Option(help="The server, such as http://127.0.0.1:8000.")],
    model: Annotated[str | None, typer.Option(help="The model to ask; else the server's first.")] = None,
    api_key: Annotated[str | None, typer.Option(envvar="LLMRT_API_KEY", help="The key that it asks for.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check what clients depend on, one behaviour after the other; exit 1 if one is missing.

    Some 200 short requests are sent. What cannot be brought about from outside is not applicable.
    """
    server = find_server(url, model, api_key)
    results: list[Result] = []
    for check in CHECKS:
        if sys.stderr.isatty():
            typer.echo(f"\r\x1b[KC{check.number} {check.summary}", nl=False, err=True)
        results.append(run_check(check, server))
    if sys.stderr.isatty():
        typer.echo("\r\x1b[K", nl=False, err=True)
    counts = Counter(result.outcome for result in results)
    if as_json:
        print_json({"url": server.url, "model": server.model, "counts": counts, "checks": results})
    else:
        rows = [(f"C{result.number}", result.outcome, result.summary, result.seen) for result in results]
        print_rows(("", "RESULT", "WHAT CLIENTS DEPEND ON", "SEEN"), rows)
        typer.echo(f"\n{server.model} at {server.url}: " + ", ".join(f"{n} {outcome}" for outcome, n in counts.items()))
    if counts["fail"]:
        raise typer.Exit(1)
