"""The GGUF files that llama.cpp is given, made once and kept in build/peers."""

from __future__ import annotations

from pathlib import Path

from gguf import GGMLQuantizationType

from benchmarks.peers.client import ROOT, Client
from benchmarks.peers.random_gguf import write_random_gguf
from benchmarks.peers.shapes import SHAPES
from llmrt.cli.bench_target import named_target

FOLDER = ROOT / "build/peers"


def model_file(shape: str, kind: str, peer: Client) -> Path:
    """The file of a shape: real weights as llama.cpp quantizes them to Q4_0, or random ones."""
    wanted = SHAPES[shape]
    real = wanted.real and kind == "Q4_0"
    path = FOLDER / f"{wanted.alias}-{wanted.config.num_layers}-{'real' if real else 'random'}-{kind}.gguf"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        if real:
            peer.ask("quantize", path=str(named_target(wanted.alias, None).path), to=str(unfinished))
        else:
            write_random_gguf(unfinished, wanted.config, GGMLQuantizationType[kind])
        unfinished.rename(path)
    return path
