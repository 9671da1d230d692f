"""``llmrt doctor``: what this machine has, what would run where, and what keeps it from being fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.filesize import decimal

from llmrt.cli.checkup import Checkup, check_up
from llmrt.cli.tables import print_facts, print_json

BACKENDS = {"cpu": "native kernels", "triton": "Triton kernels", "reference": "torch"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what this machine has and what would run where; exit 1 if something keeps models from running fast."""
    found = check_up()
    if as_json:
        print_json(found)
    else:
        print_facts([*_machine(found), *_software(found), *_ops(found), *_files(found), *_verdict(found)])
    if found.problems:
        raise typer.Exit(1)


Facts = Iterator[tuple[str, str]]


def _machine(found: Checkup) -> Facts:
    yield "processor", found.processor
    yield "cores", f"{found.usable_cores} used, of {found.cores} ({found.logical_cores} logical)"
    limit = ", the limit of its control group" if found.memory_is_limited else ""
    yield "memory", f"{decimal(found.available_bytes)} available of {decimal(found.memory_bytes)}{limit}"
    if (limits := found.limits) is not None:
        operations = (limits.operations_per_second or 0) / 1e12
        yield "speed", f"reads {limits.read_bytes_per_second / 1e9:.1f} GB/s, {operations:.2f} T int8 operations/s"
    elif found.kernels.isa is not None:
        yield "speed", "not measured: too little memory is left"
    for gpu in found.gpus:
        memory = f"{decimal(gpu.free_bytes)} free of {decimal(gpu.total_bytes)}"
        yield "GPU", f"{gpu.name}, {memory}, driver {gpu.driver}, {gpu.refusal or 'used'}"
    if not found.gpus:
        yield "GPU", "none that NVIDIA's driver shows" if found.device != "cuda" else "used, not one of NVIDIA's"


def _software(found: Checkup) -> Facts:
    yield "system", found.system
    yield "llmrt", f"{found.llmrt}, Python {found.python}"
    yield "packages", ", ".join(f"{name} {version or 'not installed'}" for name, version in found.packages.items())
    kernels = found.kernels
    if kernels.isa is None:
        yield "native kernels", "not built"
        return
    yield "native kernels", kernels.path or ""
    why = "the best that they and the processor have" if kernels.isa == kernels.isas[0] else "because LLMRT_ISA says so"
    yield "instructions", f"{kernels.isa}, {why}; all: {', '.join(kernels.isas)}"


def _ops(found: Checkup) -> Facts:
    """One line where all operations run in the same way, a line each where they do not."""
    for weights, choices in found.ops.items():
        label = f"weights {weights}"
        backends = {choice.backend for choice in choices}
        if len(backends) == 1:
            names = ", ".join(choice.op for choice in choices)
            yield label, f"all on the {found.device} by {BACKENDS[backends.pop()]} ({names})"
            continue
        for choice in choices:
            reasons = "".join(f"; not {BACKENDS[name]}: {reason}" for name, reason in choice.passed_over.items())
            yield label, f"{choice.op} on the {found.device} by {BACKENDS[choice.backend]}{reasons}"


def _files(found: Checkup) -> Facts:
    store = found.store
    count = "1 model" if store.num_models == 1 else f"{store.num_models} models"
    yield "models", f"{store.path} ({count}, {decimal(store.num_bytes)}; {decimal(store.free_bytes)} free)"
    if store.prompts_bytes:
        yield "prompts", f"{decimal(store.prompts_bytes)} are kept of them; llmrt rm --prompts deletes it"
    yield "environment", ", ".join(f"{name}={value}" for name, value in found.variables.items()) or "nothing set"


def _verdict(found: Checkup) -> Facts:
    for problem in found.problems:
        yield "PROBLEM", f"{problem.what}; {problem.remedy}"
    if not found.problems:
        yield "verdict", "models run as fast here as llmrt can run them"
