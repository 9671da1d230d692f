"""How many instructions a kernel with packed weights spends on a weight, counted in its machine code.

The loop is the innermost one with the most products in it: from a label to the last branch back to it. The assembler
may have unrolled it; how often is told by the products of the same loop in the PTX that it was made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from triton.compiler import CompiledKernel

from benchmarks.kernel_table.resources import on_cubin

WARP = 32


@dataclass(frozen=True)
class Assembly:
    """How one language spells what is looked for; each pattern's group 1 is a label's name, or the instruction."""

    label: re.Pattern[str]
    branch: re.Pattern[str]
    instruction: re.Pattern[str]
    product: re.Pattern[str]


SASS = Assembly(
    label=re.compile(r"^(\.L_x_\d+):"),
    branch=re.compile(r"BRA.*`\((\.L_x_\d+)\)"),
    instruction=re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(\S.*?)\s*;"),
    product=re.compile(r"\b(IDP|IMMA|IGMMA|HMMA|HGMMA)\."),
)
PTX = Assembly(
    label=re.compile(r"^(\$L\w+):"),
    branch=re.compile(r"\bbra(?:\.uni)?\s+(\$L\w+)"),
    instruction=re.compile(r"^\s+([@a-z].*);"),
    product=re.compile(r"\b(dp4a|mma\.sync|wgmma\.mma_async)\b"),
)


def instructions_per_weight(kernel: CompiledKernel, weights: int) -> float | None:
    """Of one lane, where the block's turn of the loop takes ``weights``; None for code that is not NVIDIA's."""
    if "cubin" not in kernel.asm:
        return None
    loop = product_loop(on_cubin("nvdisasm", "-c", cubin=kernel.asm["cubin"]), SASS)
    turns = Fraction(products(loop, SASS), products(product_loop(kernel.asm["ptx"], PTX), PTX))
    lanes = WARP * kernel.metadata.num_warps
    return float(len(loop) * lanes / (turns * weights))


def product_loop(text: str, assembly: Assembly) -> list[str]:
    """The instructions of the innermost loop that has the most products."""
    candidates = [loop for loop in innermost_loops(text, assembly) if products(loop, assembly)]
    assert candidates, "no loop has a product"
    return max(candidates, key=lambda loop: products(loop, assembly))


def products(loop: list[str], assembly: Assembly) -> int:
    """How many of the instructions multiply."""
    return sum(bool(assembly.product.search(instruction)) for instruction in loop)


def innermost_loops(text: str, assembly: Assembly) -> Iterator[list[str]]:
    """The instructions of each loop that has no other loop in it."""
    instructions: list[str] = []
    starts: dict[str, int] = {}
    loops: dict[int, int] = {}
    for line in text.splitlines():
        if label := assembly.label.search(line):
            starts[label[1]] = len(instructions)
        if found := assembly.instruction.search(line):
            instructions.append(found[1])
            target = assembly.branch.search(line)
            if target and target[1] in starts:
                loops[starts[target[1]]] = len(instructions)
    for start, end in loops.items():
        if not any(start <= other < end for other in loops if other != start):
            yield instructions[start:end]
