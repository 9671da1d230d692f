"""What a GPU does with llmrt: the kernels' rates beside its limits, whole models, and the kernels' tests on the device.

    PYTHONPATH=.:kernels python -m benchmarks.gpu --part kernels --json kernels.json
    PYTHONPATH=.:kernels python -m benchmarks.gpu --part engine --json engine.json
    PYTHONPATH=.:kernels python -m benchmarks.gpu --part more --json more.json

It needs torch, triton, numpy, safetensors, pytest and transformers, and no installation. A section that fails or takes
too long is recorded and the next one runs; each row is on disk as soon as it is measured. What matters most comes
first, and at the end stands what was to be reached beside what was. The first two parts take four and five minutes on
an H200 with 16 cores, by the seconds that stand below at each section; docs/performance/gpu.md has where they are from.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import torch

from benchmarks.on_gpu import (
    adapters,
    batches,
    compiled,
    engine,
    graphs,
    guesses,
    kernels,
    machine,
    overlap,
    peer,
    profile,
    sanitizer,
)
from benchmarks.on_gpu.sections import Section, Sections

BEGINNING = 10.0  # seconds until the first section begins: imports, and the device's own start
PARTS = {
    "kernels": {
        "machine": Section(machine.machine, 2),
        "compiled": Section(compiled.of_kernels, 38),
        "limits": Section(kernels.limits, 3),
        "linear": Section(kernels.linear, 50),
        "attention": Section(kernels.attention, 30),
        "tests": Section(kernels.tests, 80),
        "sanitizer": Section(sanitizer.checked, 40),
    },
    "engine": {
        "machine": Section(machine.machine, 2),
        "compiled": Section(compiled.of_models, 45),
        "7b-int4": Section(engine.mistral_int4, 22),
        "graphs-int4": Section(graphs.mistral_int4, 5),
        "batches-int4": Section(batches.mistral_int4, 3),
        "7b-bf16": Section(engine.mistral_bf16, 20),
        "graphs-bf16": Section(graphs.mistral_bf16, 5),
        "batches-bf16": Section(batches.mistral_bf16, 3),
        "mixtral-int4": Section(engine.mixtral_int4, 30),
        "7b-int8": Section(engine.mistral_int8, 20),
        "transformers-7b-bf16": Section(peer.mistral_bf16, 25),
        "parity": Section(kernels.parity, 60),
        "overlap-int4": Section(overlap.mistral_int4, 12),
    },
    "more": {
        "machine": Section(machine.machine, 2),
        "profile-int4": Section(profile.mistral_int4, 20),
        "adapters": Section(adapters.mistral_int4, 30),
        "guesses": Section(guesses.mistral_int4, 30),
        "overlap-bf16": Section(overlap.mistral_bf16, 25),
        "profile-bf16": Section(profile.mistral_bf16, 5),
        "mixtral-int8": Section(engine.mixtral_int8, 60),
        "mixtral-bf16": Section(engine.mixtral_bf16, 60),
    },
}
SECONDS = {"kernels": 255.0, "engine": 300.0, "more": 240.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--sections", nargs="*", help="by name; else all of the part")
    parser.add_argument("--seconds", type=float, help="that all of it may take; else 255, 300 or 240 by part")
    parser.add_argument("--json", type=Path, help="where the results go, as they come")
    parser.add_argument("--list", action="store_true", help="print the names of the sections and their seconds")
    options = parser.parse_args()
    part = PARTS[options.part]
    if options.list:
        print(*(f"{name:24} {section.seconds:4g} s" for name, section in part.items()), sep="\n")
        return
    unknown = set(options.sections or ()) - set(part)
    if unknown:
        parser.error(f"no section is called {', '.join(sorted(unknown))}; there are {', '.join(part)}")
    if not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} sees no GPU; this measures one.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the process which measures ends, too
    sections = Sections(options.json, options.seconds or SECONDS[options.part])
    sections.run({name: section for name, section in part.items() if not options.sections or name in options.sections})
    raise SystemExit(sections.num_failed > 0)


if __name__ == "__main__":
    main()
