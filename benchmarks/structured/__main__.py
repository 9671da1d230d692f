"""Answers by chance over a real vocabulary: are they valid, and what does a mask cost?

    python -m benchmarks.structured [--model NAME] [--walks N] [--json FILE]

Bars: no invalid answer among those that end; a mask in less than 0.3 ms on average. Without a model's preferences an
answer goes to corners of a grammar that a model would hardly visit.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean, median, quantiles
from time import perf_counter
from typing import Any

from benchmarks.result import options_of, write
from benchmarks.structured.schemas import Case, accepted, refused
from benchmarks.structured.truth import fault
from benchmarks.structured.walk import Walk, Walker
from llmrt.cli.machine import this_machine
from llmrt.errors import RequestError
from llmrt.hub.sources import resolve
from llmrt.text.grammar import json_schema_grammar
from llmrt.text.grammar_vocabulary import grammar_vocabulary, token_bytes
from llmrt.text.load_tokenizer import load_tokenizer

MASK_BAR_MS = 0.3


def measure(walker: Walker, num_walks: int) -> dict[str, Any]:
    """Walk through every accepted schema; counts, invalid answers and the times of masks."""
    walks = [(case, walk) for case in accepted() for walk in _walks(walker, case, num_walks)]
    ended = [(case, walk.text) for case, walk in walks if walk.text is not None]
    faults = [(case.name, text, fault(case.schema, text)) for case, text in ended]
    return {
        "accepted": len(accepted()),
        "refused": sum(_refuses(case) for case in refused()),
        "to_refuse": len(refused()),
        "answers": len(walks),
        "ended": len(ended),
        "invalid": [{"schema": name, "text": text, "fault": found} for name, text, found in faults if found],
        "mask_ms": _summary([1000 * seconds for _, walk in walks for seconds in walk.seconds]),
    }


def _walks(walker: Walker, case: Case, count: int) -> list[Walk]:
    grammar = json_schema_grammar(case.schema, param="schema")
    return [walker.walk(grammar, random.Random(f"{case.name} {i}")) for i in range(count)]


def _refuses(case: Case) -> bool:
    try:
        json_schema_grammar(case.schema, param="schema")
    except RequestError:
        return True
    return False


def _summary(times: Sequence[float]) -> dict[str, float]:
    return {
        "count": len(times),
        "mean": mean(times),
        "median": median(times),
        "p99": quantiles(times, n=100)[98],
        "most": max(times),
    }


def main() -> None:
    """Measure, print, write; status 1 where a bar is missed."""
    parser = options_of(__doc__, "structured")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--walks", type=int, default=2, help="Answers a schema.")
    options = parser.parse_args()
    tokenizer = load_tokenizer(resolve(options.model, report=lambda line: print(line, file=sys.stderr)).path)
    began = perf_counter()
    vocabulary = grammar_vocabulary(tokenizer)
    report = {
        "machine": asdict(this_machine()),
        "model": options.model,
        "vocabulary": {"tokens": tokenizer.vocab_size, "seconds": perf_counter() - began},
        "bars": {"invalid": 0, "mask_ms": MASK_BAR_MS},
        **measure(Walker(vocabulary, token_bytes(tokenizer)), options.walks),
    }
    write(report, options.json)
    mask = report["mask_ms"]
    print(
        f"{report['accepted']} schemas followed, {report['refused']} of {report['to_refuse']} others refused;"
        f" {report['ended']} of {report['answers']} answers ended, {len(report['invalid'])} of them invalid;"
        f" a mask takes {mask['mean']:.3f} ms on average, {mask['p99']:.3f} ms at p99, {mask['most']:.2f} ms at most"
    )
    sys.exit(bool(report["invalid"]) or mask["mean"] >= MASK_BAR_MS)


if __name__ == "__main__":
    main()
