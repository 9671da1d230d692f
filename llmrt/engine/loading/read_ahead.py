"""Having packed weights read from the disk while torch is imported. Free of torch.

A start maps its weights, and pages of a map that are touched one after the other come at half of the rate at which a
disk answers requests that it knows of in advance.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from llmrt.config import EngineConfig
from llmrt.engine.hardware.system_memory import available_memory
from llmrt.hub.packed import packed_copy
from llmrt.model.checkpoints.packed_header import packed_file
from llmrt.quant.recipe import RECIPES

_STRETCH = 4 << 20  # the system cuts larger requests short without a word


def read_ahead(model: Path, config: EngineConfig) -> None:
    """Begin to read, in the background, what a start of ``model`` with ``config`` will map, if memory can hold it.

    Where it would be the wrong file, or there is none, the start is as right and as fast as without.
    """
    file = expected_file(model, config)
    if file is not None and hasattr(os, "posix_fadvise") and file.stat().st_size < available_memory():
        threading.Thread(target=_request, args=(file,), name="read-ahead", daemon=True).start()


def expected_file(model: Path, config: EngineConfig) -> Path | None:
    """The packed weights of ``model`` that ``config`` means, as far as names alone tell."""
    own = packed_file(model)
    if own is not None or config.calibration is not None:  # a copy for a text is named after its tokens
        return own
    quants = RECIPES if config.quant == "auto" else (config.quant,)
    copies = [copy for quant in quants if (copy := packed_copy(model, quant)).exists()]
    return copies[0] if len(copies) == 1 else None


def _request(file: Path) -> None:
    with file.open("rb") as opened:
        for start in range(0, os.fstat(opened.fileno()).st_size, _STRETCH):
            os.posix_fadvise(opened.fileno(), start, _STRETCH, os.POSIX_FADV_WILLNEED)
