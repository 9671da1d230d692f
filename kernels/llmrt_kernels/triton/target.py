"""What kernels are compiled for: the seven targets that every variant is checked on, and the device at hand.

``asm`` names the inline assembly that a kernel takes as its constexpr ``ASM``:

cuda    NVIDIA from sm_61 on
gfx11   AMD from RDNA3 on
gfx9    AMD CDNA, RDNA2
none    plain Triton, what the interpreter and any other device run
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from triton import knobs

# With TRITON_INTERPRET=1 kernels run on the CPU, in Python: slow, and without a GPU.
INTERPRETED: bool = knobs.runtime.interpret


@dataclass(frozen=True)
class Target:
    """A kind of device. ``arch`` is 86 or "gfx1100"."""

    backend: str
    arch: int | str
    warp_size: int
    asm: str

    @property
    def name(self) -> str:
        """As its maker calls it: sm_86, gfx1100."""
        return f"sm_{self.arch}" if self.backend == "cuda" else str(self.arch)

    @property
    def overlaps(self) -> bool:
        """Whether a launch may begin before the one in front of it has ended: see ``overlap``."""
        return isinstance(self.arch, int) and self.arch >= 90


TARGETS = (
    Target("cuda", 80, 32, "cuda"),  # A100
    Target("cuda", 86, 32, "cuda"),  # RTX 30
    Target("cuda", 89, 32, "cuda"),  # RTX 40
    Target("cuda", 90, 32, "cuda"),  # H100, H200
    Target("cuda", 120, 32, "cuda"),  # RTX 50
    Target("hip", "gfx1100", 32, "gfx11"),  # RX 7900
    Target("hip", "gfx942", 64, "gfx9"),  # MI300
)

INTERPRETER = Target("interpreter", "python", 1, "none")


@cache
def target_of(device: torch.device) -> Target:
    """The ``device`` of a tensor; tables of launch configurations are read by it."""
    if INTERPRETED:
        return INTERPRETER
    properties = torch.cuda.get_device_properties(device)
    if not torch.version.hip:  # the version of ROCm
        arch = 10 * properties.major + properties.minor
        return Target("cuda", arch, 32, "cuda")
    arch = properties.gcnArchName.split(":")[0]  # gfx942:sramecc+:xnack-
    return Target("hip", arch, properties.warp_size, amd_asm(arch))


def amd_asm(arch: str) -> str:
    """Which of the assemblies an AMD ``arch`` has."""
    if arch.startswith(("gfx11", "gfx12")):
        return "gfx11"
    return "gfx9" if arch.startswith(("gfx908", "gfx90a", "gfx94", "gfx95", "gfx103")) else "none"
