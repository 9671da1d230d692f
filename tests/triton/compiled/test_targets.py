"""The targets that variants are compiled for."""

from __future__ import annotations

from llmrt_kernels.triton.target import TARGETS, amd_asm


def test_a_target_has_the_assembly_that_its_device_is_given() -> None:
    for target in TARGETS:
        assert target.asm == ("cuda" if target.backend == "cuda" else amd_asm(str(target.arch)))


def test_unknown_processors_get_plain_triton() -> None:
    assert amd_asm("gfx1010") == "none"
