"""What is known of packed weights without loading them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from llmrt.errors import CheckpointError
from llmrt.hub.packed import evaluation_file, packed_copies
from llmrt.model.checkpoints.packed_header import packed_file, read_header
from llmrt.text.model_files import read_json


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A file of packed weights: its format ("unreadable" if it is not whole), and the figures of ``llmrt eval``."""

    path: str
    quant: str
    num_bytes: int
    evaluation: dict[str, Any] | None

    def __str__(self) -> str:
        return f"{self.quant} ({decimal(self.num_bytes)})"


def describe_packed(model: Path) -> tuple[Packed, ...]:
    """The packed weights of the model at ``model``: its own, or the copies that are kept beside it."""
    own = packed_file(model)
    return tuple(_describe(path) for path in (packed_copies(model) if own is None else [own]))


def evaluation_facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures of an evaluation for people, a label and a value a line."""
    bits = result["bits"]
    text = f" of {result['text']}" if "text" in result else ""
    return [
        ("perplexity", f"{result['perplexity']:.4f} ({result['full_perplexity']:.4f} in {result['full_dtype']})"),
        ("KL divergence", f"{result['kl_mean']:.5f} nats a token, 99th percentile {result['kl_p99']:.4f}"),
        ("same top token", f"{100 * result['top1_agreement']:.2f} %"),
        ("bits a weight", f"layers {bits['layers']:.2f}, head {bits['head']:.2f}, overall {bits['overall']:.2f}"),
        ("evaluated", f"{result['quant']}, KV cache {result['kv_dtype']}, {result['num_predictions']} tokens{text}"),
    ]


def _describe(path: Path) -> Packed:
    try:
        quant = read_header(path).quant
    except CheckpointError:
        quant = "unreadable"
    evaluation = dict(read_json(evaluation_file(path))) or None
    return Packed(path=str(path), quant=quant, num_bytes=path.stat().st_size, evaluation=evaluation)
