"""The places in Triton's interpreter where kernels are launched and memory is touched, with the checks put in.

Programs run in an order drawn anew for each launch: a device keeps to none.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import TensorHandle

from llmrt_kernels.triton import lora
from tests.triton.interpreted.checker.hints import check_hint
from tests.triton.interpreted.checker.launch import Launch
from tests.triton.interpreted.checker.memory import Argument, watch_allocations

Builder = interpreter.InterpreterBuilder
GRID_LIMITS = (2**31 - 1, 65535, 65535)


class CheckedGrid(interpreter.GridExecutor):
    """Launches that are watched, one after the other."""

    current: ClassVar[Launch]
    order: ClassVar[Any] = np.random.default_rng(0)

    def _init_args_hst(self, args_dev: Any, kwargs: Any) -> Any:
        named = inspect.getcallargs(self.fn, *args_dev, **kwargs)
        tensors = {name: value for name, value in named.items() if hasattr(value, "data_ptr")}
        arguments = {i: Argument(name, i, tensor) for i, (name, tensor) in enumerate(tensors.items(), 1)}
        reachable = [Argument("adapter", 0, tensor) for tensor in _adapters()]
        CheckedGrid.current = Launch(self.fn.__name__, arguments, reachable)
        return (), named | {argument.name: argument for argument in arguments.values()}

    def _restore_args_dev(self, *_: Any) -> None:
        self.current.end()


def _adapters() -> list[Any]:
    """The matrices whose addresses are in the tables of adapters."""
    pieces = [piece for table in lora._tables for adapter in table.adapters for piece in adapter]
    return [matrix.data for piece in pieces for matrix in (piece.a, piece.b)]


class _Checks:
    """Methods for the interpreter's builder, in the place of ``plain`` ones."""

    plain: ClassVar[dict[str, Any]] = {}

    def set_grid_dim(self: Any, *grid: int) -> None:
        _Checks.plain["set_grid_dim"](self, *grid)
        launch = CheckedGrid.current
        launch.grid = grid
        if any(size > limit for size, limit in zip(grid, GRID_LIMITS, strict=True)):
            launch.fail(f"a grid of {grid}, above {GRID_LIMITS}", 0)
        self.order = iter(CheckedGrid.order.permutation(int(np.prod(grid))))

    def set_grid_idx(self: Any, *_: int) -> None:
        program = int(next(self.order))
        CheckedGrid.current.begin(program)
        _Checks.plain["set_grid_idx"](self, *map(int, np.unravel_index(program, self.grid_dim)))

    def create_masked_load(self: Any, ptrs: Any, mask: Any, *rest: Any) -> TensorHandle:
        return _Checks.plain["create_masked_load"](
            self, CheckedGrid.current.access("load", ptrs, mask.data), mask, *rest
        )

    def create_masked_store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any) -> None:
        plain = CheckedGrid.current.access("store", ptrs, mask.data, value.data)
        _Checks.plain["create_masked_store"](self, plain, value, mask, *rest)
        kept = _Checks.plain["create_masked_load"](self, plain, mask, value, None, None, False)
        if kept.data.tobytes() != np.ascontiguousarray(value.data).tobytes():
            CheckedGrid.current.fail("a store of different values to one address")

    def create_atomic_rmw(self: Any, operation: Any, ptr: Any, value: Any, mask: Any, *rest: Any) -> TensorHandle:
        plain = CheckedGrid.current.access("atomic", ptr, mask.data)
        return _Checks.plain["create_atomic_rmw"](self, operation, plain, value, mask, *rest)

    def create_atomic_cas(self: Any, ptr: Any, *rest: Any) -> TensorHandle:
        return _Checks.plain["create_atomic_cas"](self, CheckedGrid.current.access("atomic", ptr, True), *rest)

    def create_barrier(self: Any) -> None:
        CheckedGrid.current.barrier()


def _patch_lang_core(lang: Any, scope: Any, plain: Any = interpreter._patch_lang_core) -> None:
    plain(lang, scope)
    for name in ("multiple_of", "max_contiguous", "max_constancy"):
        scope.set_attr(lang, name, partial(_hinted, name, getattr(lang, name)))


def _hinted(name: str, hint: Any, value: Any, given: Any) -> Any:
    if isinstance(value, tl.tensor) and (wrong := check_hint(name, value.handle.data, given)):
        CheckedGrid.current.fail(wrong)
    return hint(value, given)


def check_launches(patch: pytest.MonkeyPatch) -> None:
    """From now on every launch is checked."""
    watch_allocations(patch)
    for name in [name for name in vars(_Checks) if name.startswith(("set_", "create_"))]:
        _Checks.plain[name] = getattr(Builder, name)
        patch.setattr(Builder, name, getattr(_Checks, name))
    patch.setattr(interpreter, "GridExecutor", CheckedGrid)
    patch.setattr(interpreter, "_patch_lang_core", _patch_lang_core)
