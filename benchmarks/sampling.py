"""What drawing tokens costs beside taking the likeliest: steps of requests that all answer, on the processor.

    python -m benchmarks.sampling [--json FILE]

The model is a real one, for how many tokens are likely decides how much there is to cut.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.result import options_of, provenance, write
from llmrt.config import EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading.build import build_engine
from llmrt.engine.request import SamplingParams
from llmrt.hub.sources import resolve
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt.text.tokenizer import Tokenizer

MODEL, QUANT = "smollm2-135m", "int4"
PROMPT = "<|im_start|>user\nWrite story number {} about a lighthouse.<|im_end|>\n<|im_start|>assistant\n"
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "temperature 1": {"temperature": 1.0},
    "temperature 0.6, top_p 0.9": {"temperature": 0.6, "top_p": 0.9},
    "temperature 0.8, top_k 40, top_p 0.95, min_p 0.05": {
        "temperature": 0.8,
        "top_k": 40,
        "top_p": 0.95,
        "min_p": 0.05,
    },
}


def step_seconds(engine: LLMEngine, tokenizer: Tokenizer, requests: int, way: dict[str, Any], tokens: int) -> float:
    """The median step of so many answers; steps with prompts are less than a quarter of all."""
    for i in range(requests):
        prompt = tokenizer.encode(PROMPT.format(i), add_special_tokens=False)
        engine.add(str(i), prompt, SamplingParams(max_tokens=tokens, seed=i, **way))
    seconds: list[float] = []
    while engine.has_work:
        start = time.perf_counter()
        engine.step()
        seconds.append(time.perf_counter() - start)
    return median(seconds[len(seconds) // 4 :])


def measure(model: Path, requests: int, tokens: int, rounds: int) -> dict[str, float]:
    """Milliseconds of a step by the way of choosing: the median round of those that take turns."""
    engine = build_engine(model, EngineConfig(quant=QUANT, max_num_seqs=requests), lambda _: None)
    tokenizer = load_tokenizer(model)
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            times[name].append(step_seconds(engine, tokenizer, requests, way, tokens))
    return {name: 1e3 * median(seconds) for name, seconds in times.items()}


def main() -> None:
    """Measure, print, write."""
    parser = options_of(__doc__, "sampling")
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = resolve(MODEL, report=print).path
    rows = {requests: measure(model, requests, options.tokens, options.rounds) for requests in options.requests}
    for requests, row in rows.items():
        greedy, *others = row.items()
        drawn = ", ".join(f"{name}: {each:.2f} ms ({each / greedy[1]:.2f})" for name, each in others)
        print(f"{requests:2} requests, a step: greedy {greedy[1]:.2f} ms; {drawn}")
    settings = {"model": MODEL, "quant": QUANT, "tokens": options.tokens, "rounds": options.rounds}
    write({**provenance(), **settings, "step_ms": rows}, options.json)


if __name__ == "__main__":
    main()
