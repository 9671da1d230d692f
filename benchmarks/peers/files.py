"""The GGUF files that llama.cpp is given, made once and kept in build/peers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.client import ROOT, Client
from benchmarks.peers.random_gguf import write_random_gguf
from benchmarks.peers.shapes import SHAPES
from llmrt.cli.bench_target import named_target

FOLDER = ROOT / "build/peers"


def model_file(shape: str, kind: str, peer: Client) -> Path:
    """The file of a shape: real weights as llama.cpp quantizes them to Q4_0, or random ones."""
    wanted = SHAPES[shape]
    if wanted.real and kind == "Q4_0":
        return quantized_file(shape, lambda source, to: peer.ask("quantize", path=str(source), to=str(to)))
    path = FOLDER / f"{wanted.alias}-{wanted.config.num_layers}-random-{kind}.gguf"
    return _made(path, lambda to: write_random_gguf(to, wanted.config, kind))


def quantized_file(shape: str, quantize: Callable[[Path, Path], object]) -> Path:
    """A shape's real weights in Q4_0, as ``quantize`` writes them from one file to another."""
    wanted = SHAPES[shape]
    path = FOLDER / f"{wanted.alias}-{wanted.config.num_layers}-real-Q4_0.gguf"
    return _made(path, lambda to: quantize(named_target(wanted.alias, None).path, to))


def _made(path: Path, make: Callable[[Path], object]) -> Path:
    """``path``, whole: made under another name if it is not there yet."""
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        make(unfinished)
        unfinished.rename(path)
    return path
