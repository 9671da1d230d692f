"""Decode speed with LoRA adapters in the batch beside the same batch without, in one process.

    python -m benchmarks.lora [--json FILE]

Bar: eight requests with an adapter each keep 70 % of the speed of eight without.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.shapes import SHAPES
from benchmarks.random_adapter import compare, write_adapter
from benchmarks.result import options_of, provenance, write
from llmrt.cli.loading import load_engine
from llmrt.config import EngineConfig
from llmrt.engine.hardware.threads import usable_cores
from llmrt.model.checkpoints.random_checkpoint import RandomCheckpoint

BAR = 0.70


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Medians of ``repeat`` rounds, each with and without."""
    config = SHAPES[options.shape].config
    names = [f"adapter{i}" for i in range(options.adapters)]
    with tempfile.TemporaryDirectory() as folder:
        settings = EngineConfig(
            context_length=512,
            threads=options.threads,
            max_num_seqs=options.adapters,
            quant=options.quant,
            prefix_caching=False,
            adapters=tuple((n, str(write_adapter(config, Path(folder) / n, options.rank))) for n in names),
        )
        engine = load_engine(lambda: RandomCheckpoint(config), settings)
    return compare(engine, names, options.tokens, options.repeat)


def main() -> None:
    """Measure, print, write."""
    parser = options_of(__doc__, "lora")
    parser.add_argument("--shape", choices=SHAPES, default="1.1b")
    parser.add_argument("--quant", default="int4")
    parser.add_argument("--adapters", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    found = measure(options)
    rates, kept = found["rates"], found["kept"]
    print(
        f"{options.adapters} requests: {rates['without']:.1f} tok/s without adapters,"
        f" {rates['an_adapter_each']:.1f} with one each ({kept['an_adapter_each']:.0%}, bar {BAR:.0%}),"
        f" {rates['one_adapter_for_all']:.1f} with one for all ({kept['one_adapter_for_all']:.0%})"
    )
    chosen = {name: getattr(options, name) for name in ("shape", "quant", "adapters", "rank", "tokens", "threads")}
    report = {**provenance(), **chosen, "bar": BAR, **found}
    write(report, options.json)


if __name__ == "__main__":
    main()
