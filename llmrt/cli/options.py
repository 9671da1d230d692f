"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from llmrt.config import DtypeName, KvDtypeName, QuantName, SpeculateName

_SIZE = re.compile(r"([0-9]+)([kmKM]?)")
_GPU_MEMORY = re.compile(r"([0-9]*\.?[0-9]+)( ?GB?)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}
_BYTES = re.compile(r"([0-9]*\.?[0-9]+) ?([MGT]?)B?", re.IGNORECASE)
_BYTE_UNITS = {"": 1, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_size(text: str | int) -> int:
    """A number of tokens: "32768" and "32k" are the same. Raises ``typer.BadParameter`` for anything else."""
    match = _SIZE.fullmatch(str(text))
    size = int(match[1]) * _UNITS[match[2].lower()] if match else 0
    if size < 1:
        raise typer.BadParameter(f"{text!r} is not a number of tokens such as 4096 or 32k.")
    return size


def parse_gpu_memory(text: str | float) -> float:
    """ "0.8" is a fraction, "12" and "12GB" are gigabytes. Raises ``typer.BadParameter`` for anything else."""
    match = _GPU_MEMORY.fullmatch(str(text))
    amount = float(match[1]) if match else 0.0
    if not match or amount <= 0 or (match[2] and amount <= 1):
        raise typer.BadParameter(f"{text!r} is neither a fraction up to 1 nor more than 1 gigabyte, such as 12GB.")
    return amount


def parse_bytes(text: str | int) -> int:
    """ "2GB" and "500MB" are bytes, 0 is none. Raises ``typer.BadParameter`` for anything else."""
    match = _BYTES.fullmatch(str(text))
    num_bytes = int(float(match[1]) * _BYTE_UNITS[match[2].upper()]) if match else -1
    if not match or 0 < num_bytes < _BYTE_UNITS["M"]:
        raise typer.BadParameter(f"{text!r} is neither 0 nor a size such as 500MB or 2GB.")
    return num_bytes


def is_on_command_line(context: typer.Context, parameter: str) -> bool:
    """Whether it is given there, and not by the environment, a file or its default."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


MODEL_HELP = "An alias, org/name, org/name:file.gguf or its type as org/name:Q4_K_M, a folder or a GGUF file."


def complete_model(typed: str) -> list[str]:
    """The models that a shell may offer: what was pulled, and the aliases. Files it knows itself."""
    from llmrt.hub import store
    from llmrt.presets import load_presets

    names = {*load_presets(), *(manifest.name for manifest in store.load_all())}
    return sorted(name for name in names if name.startswith(typed))


Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP, autocompletion=complete_model)]
Revision = Annotated[str | None, typer.Option(help="A branch, tag or commit of the repository.")]
Ctx = Annotated[
    int | None,
    typer.Option(
        "--ctx",
        parser=parse_size,
        metavar="TOKENS",
        help="Context length, such as 4096 or 32k; else what the model and the memory allow.",
    ),
]
Dtype = Annotated[DtypeName, typer.Option(help="Number format of weights and activations.")]
Quant = Annotated[
    QuantName,
    typer.Option(
        help="Format of weights: stored is the files' own, none is floats; else they are quantized once, and kept."
    ),
]
KvDtype = Annotated[KvDtypeName, typer.Option(help="Number format of the KV cache.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; auto is the GPU where there is one that serves.")]
GpuMemory = Annotated[
    float | None,
    typer.Option(
        "--gpu-memory",
        parser=parse_gpu_memory,
        metavar="SHARE|GB",
        help="What to use of a GPU: a fraction of what is free, such as 0.8, or gigabytes, such as 12GB; else 0.9.",
    ),
]
Adapter = Annotated[
    Path | None, typer.Option("--lora", metavar="PATH", help="A LoRA adapter to answer with, a folder that peft saved.")
]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="NAME=PATH",
        help="A LoRA adapter, a folder that peft saved, and the name that requests choose it by; or several.",
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Processor threads; else the cores that llmrt may use.")]
DISK_CACHE = 2 * 10**9
DiskCache = Annotated[
    int,
    typer.Option(
        parser=parse_bytes,
        envvar="LLMRT_DISK_CACHE",
        show_envvar=False,
        show_default="2GB",
        metavar="SIZE",
        help="Disk for what was computed of long prompts, which then need not be computed again; 0 keeps nothing.",
    ),
]
Speculate = Annotated[
    SpeculateName,
    typer.Option(help="Guess tokens by what the text repeats and verify several at once; auto is where that pays."),
]
DraftModel = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL", autocompletion=complete_model, help="A smaller model of the same tokens guesses them."
    ),
]
MaxNumSeqs = Annotated[int, typer.Option(min=1, help="Requests computed side by side.")]
