"""Launches that begin before the one in front has ended: where they do, and what they read before they wait."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from benchmarks.kernel_table.build import build
from benchmarks.kernel_table.reports import BY_NAME, VARIANTS
from benchmarks.kernel_table.resources import on_cubin
from llmrt_kernels.triton import overlap

BEGIN, WAIT = "PREEXIT", "ACQBULK"


@pytest.fixture
def in_use() -> Iterator[None]:
    overlap.use(wanted=True)
    yield
    overlap.use(wanted=False)


def instructions(variant: str, target: str) -> list[str]:
    cubin = build(VARIANTS[variant], BY_NAME[target]).asm["cubin"]
    return re.findall(r"/\*[0-9a-f]{4}\*/\s+(?:@!?U?P\d+ )?([A-Z0-9.]+)", on_cubin("cuobjdump", "-sass", cubin=cubin))


@pytest.mark.parametrize("variant", ["linear-int4-1_token", "linear-bf16-1_token"])
def test_a_product_asks_for_its_weights_before_it_waits(variant: str) -> None:
    """Eight loads of 16 bytes for each thread."""
    code = instructions(variant, "sm_90")
    before = code[: code.index(WAIT)]
    assert before.index(BEGIN) < before.index("LDG.E.128") and before.count("LDG.E.128") == 8
    assert not {BEGIN, WAIT} & set(instructions(variant, "sm_89"))


@pytest.mark.usefixtures("in_use")
def test_launches_overlap_from_sm_90_on() -> None:
    options = {name: overlap.overlap(target) for name, target in BY_NAME.items()}
    early = {"OVERLAP": True, "launch_pdl": True}
    assert {name for name, option in options.items() if option == early} == {"sm_90", "sm_120"}
    assert all(option in (early, {"OVERLAP": False}) for option in options.values())


def test_launches_come_one_after_the_other_unless_told_otherwise() -> None:
    assert not any(overlap.overlap(target)["OVERLAP"] for target in BY_NAME.values())
