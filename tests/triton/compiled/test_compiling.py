"""Kernels that are compiled before they are launched: side by side, which is told where it takes long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import triton
import triton.compiler
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

from llmrt_kernels.triton import compiling
from llmrt_kernels.triton.compiling import compile_launches

PATIENCE = 60.0


@triton.jit
def first_kernel(ptr):
    pass


@triton.jit
def second_kernel(ptr):
    pass


class Compiler:
    """Instead of Triton's: what it makes notes its launches. ``work`` is done for each kernel first."""

    def __init__(self) -> None:
        self.compiled, self.launched = list[str](), list[str]()
        self.work: Callable[[str], object] = lambda name: None

    def compile(self, src: Any, **_: Any) -> Any:
        self.work(src.name)
        self.compiled.append(src.name)
        return SimpleNamespace(
            launch_metadata=lambda *_: None,
            function=None,
            packed_metadata=None,
            run=lambda *_: self.launched.append(src.name),
        )


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compiler]:
    there = SimpleNamespace(
        get_current_device=lambda: 0,
        get_current_stream=lambda device: 0,
        get_current_target=lambda: GPUTarget("cuda", 90, 32),
    )
    monkeypatch.setattr(driver, "_active", there)
    compiler = Compiler()
    monkeypatch.setattr(triton.compiler, "compile", compiler.compile)
    yield compiler
    for kernel in (first_kernel, second_kernel):
        kernel.device_caches.clear()


def launch_both() -> None:
    for kernel in (first_kernel, second_kernel, first_kernel):
        kernel[(1,)](torch.zeros(4))


def test_all_that_is_launched_is_compiled_at_the_same_time_and_launched_later(compiler: Compiler) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)
    compiler.work = lambda name: both.wait()
    compile_launches(launch_both, 2, lambda count: None)
    assert sorted(compiler.compiled) == ["first_kernel", "second_kernel"] and compiler.launched == []
    launch_both()
    assert len(compiler.compiled) == 2
    assert compiler.launched == ["first_kernel", "second_kernel", "first_kernel"]


def test_what_takes_long_is_told(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "TOLD_AFTER", 0.01)
    told, counts = threading.Event(), list[int]()

    def tell(count: int) -> None:
        counts.append(count)
        told.set()

    compiler.work = lambda name: told.wait(PATIENCE)
    compile_launches(launch_both, 2, tell)
    assert counts == [2] and told.is_set()


def test_what_is_soon_there_is_not_told(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "TOLD_AFTER", PATIENCE)
    counts = list[int]()
    compile_launches(launch_both, 2, counts.append)
    compile_launches(launch_both, 2, counts.append)
    assert counts == [] and len(compiler.compiled) == 2


def test_what_cannot_be_compiled_is_an_error_where_it_is_launched(compiler: Compiler) -> None:
    def refuse_second(name: str) -> None:
        if name == "second_kernel":
            raise RuntimeError("ptxas failed")

    compiler.work = refuse_second
    compile_launches(launch_both, 2, lambda count: None)
    with pytest.raises(RuntimeError, match="ptxas failed"):
        launch_both()
    first_kernel[(1,)](torch.zeros(4))
    assert compiler.launched == ["first_kernel", "first_kernel"]
    compiler.work = lambda name: None
    second_kernel[(1,)](torch.zeros(4))  # which was tried again
    assert compiler.launched[2:] == ["second_kernel"]


def test_steps_that_fail_leave_launches_as_they_were(compiler: Compiler) -> None:
    def steps() -> None:
        launch_both()
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        compile_launches(steps, 2, lambda count: None)
    launch_both()
    assert len(compiler.launched) == 3


def test_what_failed_beside_steps_that_fail_is_tried_again_too(compiler: Compiler) -> None:
    def refuse(name: str) -> None:
        raise RuntimeError("ptxas failed")

    def steps() -> None:
        launch_both()
        raise RuntimeError("CUDA out of memory")

    compiler.work = refuse
    with pytest.raises(RuntimeError, match="out of memory"):
        compile_launches(steps, 2, lambda count: None)
    compiler.work = lambda name: None
    launch_both()
    assert len(compiler.launched) == 3
