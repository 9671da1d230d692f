"""What guessed tokens gain where the answer repeats the prompt, and what they cost where it does not.

    python -m benchmarks.speculation [--json FILE] [--quant int4] [--rounds 5] [--max-tokens 160]

SmolLM2 answers each prompt without guesses and with them, in turns, by two engines of one process. Answers must be the
same. What is compared is tokens a second behind the first one. Bars: copies are 1.8 times as fast; and of ordinary
chats, greedy or drawn as the command line draws, the median keeps 0.97 of its speed at least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.result import RESULTS, provenance, write
from benchmarks.speculation_prompts import CHATS, COPIES
from llmrt.cli.session import LocalModel, find_model
from llmrt.config import EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading.build import build_engine
from llmrt.engine.request import SamplingParams

MODEL = "smollm2-135m"
COPY_BAR, CHAT_BAR = 1.8, 0.97
_PLAIN, _GUESSING = "off", "ngram"
_GREEDY, _DRAWN = SamplingParams(temperature=0), SamplingParams(temperature=0.7, top_p=0.95, seed=1)
CASES = {"copy": (COPIES, _GREEDY), "chat": (CHATS, _GREEDY), "chat, drawn": (CHATS, _DRAWN)}


@dataclass(frozen=True)
class Run:
    """An answer: its tokens, and how many came a second behind the first."""

    token_ids: list[int]
    rate: float


def answer(engine: LLMEngine, token_ids: Sequence[int], params: SamplingParams) -> Run:
    """Let ``engine`` answer this alone."""
    engine.add("r", token_ids, params)
    answered, times = list[int](), list[float]()
    while engine.has_work:
        for output in engine.step():
            answered += output.token_ids
            times.append(time.perf_counter())
    return Run(answered, (len(answered) - 1) / (times[-1] - times[0]))


def measure(engines: dict[str, LLMEngine], token_ids: list[int], params: SamplingParams, rounds: int) -> dict[str, Any]:
    """Ratios of the speeds of alternating answers; the first two warm up."""
    runs = [{name: answer(engine, token_ids, params) for name, engine in engines.items()} for _ in range(rounds + 1)]
    assert all(run.token_ids == runs[0][_PLAIN].token_ids for pair in runs for run in pair.values()), "answers differ"
    return {
        "tokens": len(runs[0][_PLAIN].token_ids),
        "plain_tokens_per_second": median(pair[_PLAIN].rate for pair in runs[1:]),
        "ratio": median(pair[_GUESSING].rate / pair[_PLAIN].rate for pair in runs[1:]),
    }


def measure_case(
    model: LocalModel, engines: dict[str, LLMEngine], prompts: Sequence[str], params: SamplingParams, rounds: int
) -> dict[str, Any]:
    """All prompts of a case."""
    rows: list[dict[str, Any]] = []
    before = engines[_GUESSING].stats
    for prompt in prompts:
        text = model.chat_template.render([{"role": "user", "content": prompt}])
        token_ids = model.tokenizer.encode(text, add_special_tokens=False)
        rows.append({"prompt": prompt[:60], **measure(engines, token_ids, params, rounds)})
    after, ratios = engines[_GUESSING].stats, [row["ratio"] for row in rows]
    return {
        "median_ratio": median(ratios),
        "smallest_ratio": min(ratios),
        "largest_ratio": max(ratios),
        "accepted": (after.num_accepted_tokens - before.num_accepted_tokens)
        / max(1, after.num_draft_tokens - before.num_draft_tokens),
        "prompts": rows,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quant", default="int4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=160)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, config = find_model(MODEL), EngineConfig(quant=options.quant, context_length=2048, max_num_seqs=1)
    engines = {name: build_engine(model.path, replace(config, speculate=name)) for name in (_PLAIN, _GUESSING)}
    common = {"max_tokens": options.max_tokens, "stop_token_ids": model.tokenizer.eos_token_ids}
    figures: dict[str, Any] = {}
    for name, (prompts, params) in CASES.items():
        case = figures[name] = measure_case(model, engines, prompts, replace(params, **common), options.rounds)
        print(
            f"{name}: {case['median_ratio']:.2f} times as fast ({case['smallest_ratio']:.2f} to"
            f" {case['largest_ratio']:.2f}, {len(prompts)} prompts), {case['accepted']:.0%} of guesses right"
        )
    report = {
        **provenance(),
        "settings": {"model": MODEL, "quant": options.quant, "rounds": options.rounds, "tokens": options.max_tokens},
        "bars": {"copy": COPY_BAR, "chat": CHAT_BAR, "chat, drawn": CHAT_BAR},
        "figures": figures,
    }
    write(report, options.json or RESULTS / f"speculation-{options.quant}.json")


if __name__ == "__main__":
    main()
