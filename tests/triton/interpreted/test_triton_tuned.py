"""Configurations that were measured are those of launches, which give the same; what is measured can be computed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from llmrt_kernels.packed import Codes
from llmrt_kernels.triton import tuned, tuning_work
from llmrt_kernels.triton.attention_tuning import Tiles, tiles_here
from llmrt_kernels.triton.target import INTERPRETER
from llmrt_kernels.triton.tiles import Tile, tile_for

CHOSEN = {
    "attention-prefill-d32-4": (64, 64, 4, 2),
    "attention-decode-d32-4": (16, 16, 4, 1),
    "product-16": (16, 64, 0, 4, 2),
    "product-32-offsets": (32, 64, 1, 8, 2),
}
SHAPE = tuning_work.Shape(
    heads=2, kv_heads=1, head_dim=32, kv_dtype=torch.float32, matrices=((160, 64),), bits=4, group=64, offsets=False
)


@pytest.fixture(autouse=True)
def plain_tables() -> Iterator[None]:
    yield
    tuned.use({})


def test_what_was_measured_takes_the_place_of_the_tables() -> None:
    tuned.use(CHOSEN)
    assert tiles_here("prefill", INTERPRETER, 32, 4) == Tiles(64, 64, 4, 2)
    assert tile_for(9, INTERPRETER, offsets=False) == Tile(16, 64, False, 4, 2)
    assert tile_for(100, INTERPRETER, offsets=True) == Tile(32, 64, True, 8, 2)
    assert tile_for(20, INTERPRETER, offsets=False).tokens == 32


def test_what_is_measured_gives_the_same_with_other_configurations(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_work, "CONTEXT", 128)
    monkeypatch.setattr(tuning_work, "NEW_TOKENS", {"prefill": 40, "decode": 1})
    works = tuning_work.works_of(SHAPE, torch.device(device))
    assert {*works} == {"attention-prefill-d32-4", "attention-decode-d32-4", "product-16", "product-32", "product-64"}
    for name in ("attention-prefill-d32-4", "attention-decode-d32-4", "product-16"):
        tuned.use({})
        expected = numbers(works[name]())
        tuned.use(CHOSEN)
        torch.testing.assert_close(numbers(works[name]()), expected, rtol=1e-4, atol=1)


def numbers(result: object) -> Tensor:
    """Of a list of products, or of codes, of which one may be the next where a value is in the middle."""
    if isinstance(result, Codes):
        return result.codes[:, : result.columns].float()
    assert isinstance(result, list)
    return result[0].float()
