"""What a GPU does with llmrt: the kernels' tests on the device, their rates beside its limits, and whole models.

    PYTHONPATH=.:kernels python -m benchmarks.gpu --part kernels --json kernels.json
    PYTHONPATH=.:kernels python -m benchmarks.gpu --part engine --json engine.json

It needs torch, triton, numpy, safetensors, pytest and transformers, and no installation. A section that fails is
recorded and the next one runs; each row is on disk as soon as it is measured. What matters most comes first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.on_gpu import adapters, batches, compiled, engine, guesses, kernels, machine, overlap, peer, profile
from benchmarks.on_gpu.sections import Sections

PARTS = {
    "kernels": {
        "machine": machine.machine,
        "limits": kernels.limits,
        "attention": kernels.attention,
        "linear": kernels.linear,
        "tests": kernels.tests,
    },
    "engine": {
        "machine": machine.machine,
        "compiled": compiled.models,
        "7b-int4": engine.mistral_int4,
        "7b-bf16": engine.mistral_bf16,
        "parity": kernels.parity,
        "mixtral-int4": engine.mixtral_int4,
        "7b-int8": engine.mistral_int8,
        "transformers-7b-bf16": peer.mistral_bf16,
        "overlap-int4": overlap.mistral_int4,
        "overlap-bf16": overlap.mistral_bf16,
        "batches-int4": batches.mistral_int4,
        "batches-bf16": batches.mistral_bf16,
        "adapters": adapters.mistral_int4,
        "guesses": guesses.mistral_int4,
        "mixtral-int8": engine.mixtral_int8,
        "mixtral-bf16": engine.mixtral_bf16,
        "profile-int4": profile.mistral_int4,
        "profile-bf16": profile.mistral_bf16,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, help="else both")
    parser.add_argument("--sections", nargs="*", help="by name; else all of the part")
    parser.add_argument("--seconds", type=float, default=540.0, help="that all of it may take")
    parser.add_argument("--json", type=Path, help="where the results go, as they come")
    parser.add_argument("--list", action="store_true", help="print the names of the sections")
    options = parser.parse_args()
    chosen = {name: run for part, runs in PARTS.items() if options.part in (None, part) for name, run in runs.items()}
    if options.list:
        print(*chosen, sep="\n")
        return
    unknown = set(options.sections or ()) - set(chosen)
    if unknown:
        parser.error(f"no section is called {', '.join(sorted(unknown))}; there are {', '.join(chosen)}")
    if not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} sees no GPU; this measures one.")
    sections = Sections(options.json, options.seconds)
    sections.run({name: run for name, run in chosen.items() if not options.sections or name in options.sections})
    raise SystemExit(sections.num_failed > 0)


if __name__ == "__main__":
    main()
