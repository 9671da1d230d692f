"""What quantizing costs SmolLM2, its weights off the grid of four bits that they are stored on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.quality.compare import TEXTS, Cached, Truth, divergence, forward
from benchmarks.quality.off_grid import OffGridCheckpoint
from benchmarks.quality.schemes import SCHEMES
from llmrt.model.checkpoints.checkpoint import open_checkpoint
from llmrt.model.loading.load import load_decoder
from llmrt.ops.types import OpSpec
from llmrt.text.load_tokenizer import load_tokenizer

FP32 = OpSpec("cpu", torch.float32)


@pytest.fixture(scope="module")
def off_grid(smollm2: Path) -> Cached:
    return Cached(OffGridCheckpoint(open_checkpoint(smollm2)))


@pytest.fixture(scope="module")
def tokens(smollm2: Path) -> dict[str, list[int]]:
    tokenizer = load_tokenizer(smollm2)
    return {name: tokenizer.encode((TEXTS / f"{name}.txt").read_text()) for name in ("persuasion", "opticks")}


def test_off_its_grid_it_is_the_same_function(smollm2: Path, off_grid: Cached, tokens: dict[str, list[int]]) -> None:
    window = tokens["persuasion"][:40]
    logits = [
        forward(load_decoder(checkpoint, 64, FP32), window, torch.float32)
        for checkpoint in (open_checkpoint(smollm2), off_grid)
    ]
    assert (logits[0] - logits[1]).abs().max() < 1e-3


def test_feedback_from_random_tokens_and_from_a_text(off_grid: Cached, tokens: dict[str, list[int]]) -> None:
    windows = [tokens["persuasion"][4096:4608]]
    truth = Truth(off_grid, windows)
    plain, steered, calibrated, int8 = (
        divergence(truth, scheme.build(off_grid, tokens["opticks"]), windows, scheme.kv_dtype)[:, 0].mean().item()
        for scheme in (
            SCHEMES["int4, without feedback"],
            SCHEMES["int4"],
            SCHEMES["int4 --calibrate"],
            SCHEMES["int8"],
        )
    )
    assert steered < 0.6 * plain
    assert calibrated < 0.8 * steered
    assert int8 < 0.004
