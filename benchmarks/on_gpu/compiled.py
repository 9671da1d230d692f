"""The kernels of whole models, compiled before anything is timed: a layer of each model, in processes side by side.

Triton keeps what it compiled on disk. One model after the other would take a minute or two of this, on one core.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context

from benchmarks.on_gpu.engine import MISTRAL, MIXTRAL, measured
from benchmarks.on_gpu.sections import Rows
from llmrt.model.config import ModelConfig

SHARE = 0.1  # of the device's free memory, for each
MODELS = {
    f"{name}-{quant}": (replace(shape, num_layers=1), quant)
    for name, shape in (("7b", MISTRAL), ("mixtral", MIXTRAL))
    for quant in ("int4", "int8", "none")
}


def models() -> Rows:
    """The seconds that each took, those of the others among them."""
    yield from compiled(MODELS)


def compiled(models: Mapping[str, tuple[ModelConfig, str]]) -> Rows:
    """The same of ``models``, each a shape and how it is quantized."""
    with ProcessPoolExecutor(len(models), get_context("spawn")) as pool:
        names = {pool.submit(_seconds, *model): name for name, model in models.items()}
        for future in as_completed(names):
            yield names[future], future.result()


def _seconds(shape: ModelConfig, quant: str) -> float:
    start = time.monotonic()
    for _ in measured(shape, quant, gpu_memory=SHARE):
        pass
    return round(time.monotonic() - start, 1)
