"""Pages of a scripted model: what its slots hold, as bytes of a fixed size."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

from tests.scripted import ScriptedRunner

_SLOT_BYTES = 512


@dataclass(frozen=True)
class ScriptedPage:
    data: bytearray

    def content(self) -> memoryview:
        return memoryview(self.data)


class ScriptedPages:
    def __init__(self, runner: ScriptedRunner) -> None:
        self.runner = runner
        self.num_bytes = runner.block_size * _SLOT_BYTES

    def empty(self) -> ScriptedPage:
        return ScriptedPage(bytearray(self.num_bytes))

    def copy_out(self, block: int) -> ScriptedPage:
        held = [self.runner.slots[block, offset] for offset in range(self.runner.block_size)]
        return ScriptedPage(bytearray(b"".join(pickle.dumps(tokens).ljust(_SLOT_BYTES) for tokens in held)))

    def copy_in(self, page: ScriptedPage, block: int) -> None:
        for offset in range(self.runner.block_size):
            self.runner.slots[block, offset] = pickle.loads(page.data[offset * _SLOT_BYTES :][:_SLOT_BYTES])
