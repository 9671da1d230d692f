"""Inline assembly in the interpreter: the few instructions that the kernels have, over registers of 32 bits.

    dp4a.s32.s32 d, a, b, c           d = c + a . b, four signed bytes each
    lop3.b32 d, a, b, c, table        bit by bit, place 4 a + 2 b + c of the table
    prmt.b32 d, a, b, selector        byte i of d is that of b:a which hexadecimal digit i of the selector names
    sub.f16x2, mul.f16x2              two halves, rounded once each (PTX ISA, 9.7)
    v_dot4_i32_iu8 ... neg_lo:[x,y,]  as dp4a, with signs where they are asked for (ISA of RDNA3); v_dot4_i32_i8

An output that is not called an early clobber ("=&r") has its register in common with an input, as a compiler may do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from triton.runtime.interpreter import TensorHandle, _get_np_dtype

Words = NDArray[np.uint32]
evaluated = set[str]()  # every text that was, since the start


@dataclass(frozen=True)
class Results:
    """What the interpreter takes for the operation."""

    handles: list[TensorHandle]

    def get_result(self, i: int) -> TensorHandle:
        return self.handles[i]


def create_inline_asm(
    builder: Any, text: str, constraints: str, values: Sequence[TensorHandle], types: Sequence[Any], _: bool, pack: int
) -> Results:
    """See ``InterpreterBuilder``, which has none."""
    del builder
    evaluated.add(text)
    shape, kinds = values[0].data.shape, constraints.replace(" ", "").split(",")
    inputs = [register for value in values for register in _registers(value.data, pack)]
    outputs = len(kinds) - len(inputs)
    assert all(kind.startswith("=") == (i < outputs) for i, kind in enumerate(kinds))
    shared = {f"${i}": f"${i + outputs}" for i in range(outputs) if "&" not in kinds[i]}
    registers = {f"${outputs + i}": words for i, words in enumerate(inputs)}
    for statement in _statements(text):
        _run(re.sub(r"\$\d+", lambda match: shared.get(match[0], match[0]), statement), registers)
    results, first = list[TensorHandle](), 0
    for type_ in types:
        dtype = np.dtype(_get_np_dtype(type_))
        count = pack * dtype.itemsize // 4
        names = (f"${i}" for i in range(first, first + count))
        words = np.stack([registers[shared.get(name, name)] for name in names], 1)
        results.append(TensorHandle(words.view(dtype).reshape(shape), type_.scalar))
        first += count
    return Results(results)


def _registers(data: NDArray[Any], pack: int) -> list[Words]:
    """``pack`` values at a time, the first in the lowest bits."""
    words = np.ascontiguousarray(data).reshape(-1, pack).view(np.uint32)
    return [words[:, i].copy() for i in range(words.shape[1])]


def _statements(text: str) -> list[str]:
    lines = (line.strip() for line in re.split(r"[;\n{}]", text))
    return [line for line in lines if line and not line.startswith((".reg .b32 ", "s_waitcnt "))]


def _run(statement: str, registers: dict[str, Words]) -> None:
    name, rest = statement.split(" ", 1)
    rest, _, modifier = rest.partition(" neg_lo:")
    to, *sources = (operand.strip() for operand in rest.split(","))
    operands = [registers[s] if s in registers else np.uint32(int(s, 0)) for s in sources]
    registers[to] = np.broadcast_to(INSTRUCTIONS[name + modifier](*operands), next(iter(registers.values())).shape)


def _dot4(a: Words, b: Words, c: Words) -> Words:
    left, right = (word[:, None].view(np.int8).astype(np.int32) for word in (a, b))
    return c + (left * right).sum(1, dtype=np.int32).view(np.uint32)


def _lop3(a: Words, b: Words, c: Words, table: np.uint32) -> Words:
    chosen = [(table >> i & 1, a if i & 4 else ~a, b if i & 2 else ~b, c if i & 1 else ~c) for i in range(8)]
    return np.bitwise_or.reduce([x & y & z for is_in, x, y, z in chosen if is_in])


def _prmt(a: Words, b: Words, selector: np.uint32) -> Words:
    def byte(i: int) -> Words:
        place = int(selector) >> (4 * i) & 15
        assert place < 8, "which would spread a sign"
        return ((a if place < 4 else b) >> np.uint32(8 * (place % 4)) & 0xFF) << np.uint32(8 * i)

    return byte(0) | byte(1) | byte(2) | byte(3)


def _halves(compute: Callable[[Any, Any], Any]) -> Callable[[Words, Words], Words]:
    def run(a: Words, b: Words) -> Words:
        left, right = (np.ascontiguousarray(word)[:, None].view(np.float16).astype(np.float64) for word in (a, b))
        with np.errstate(over="ignore"):  # a half is infinite then
            return compute(left, right).astype(np.float16).view(np.uint32)[:, 0]

    return run


INSTRUCTIONS: dict[str, Callable[..., Words]] = {
    "dp4a.s32.s32": _dot4,
    "v_dot4_i32_i8": _dot4,
    "v_dot4_i32_iu8[1,1,0]": _dot4,
    "lop3.b32": _lop3,
    "prmt.b32": _prmt,
    "mov.b32": lambda a: a,
    "v_mov_b32": lambda a: a,
    "xor.b32": np.bitwise_xor,
    "and.b32": np.bitwise_and,
    "shr.u32": np.right_shift,
    "sub.f16x2": _halves(np.subtract),
    "mul.f16x2": _halves(np.multiply),
}
