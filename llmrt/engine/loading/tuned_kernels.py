"""Launch configurations of the GPU's kernels: measured by ``llmrt tune``, used by every start."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from llmrt.config import EngineConfig
from llmrt.engine.loading.tuned_file import Numbers, Origin, kernels_hash, read_tuned
from llmrt.engine.planning.settle import case_of, recipe_of
from llmrt.model.checkpoints.headers import Headers, PackedHeaders
from llmrt.ops.types import DTYPES
from llmrt_kernels.triton import tuned, tuning
from llmrt_kernels.triton.tuning_work import Shape, works_of

BYTES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}


def origin_here() -> Origin:
    """What is measured on this machine holds for it."""
    return Origin(torch.cuda.get_device_name(), version("triton"), kernels_hash())


def use_tuned() -> list[str]:
    """Have launches use what was measured for this GPU; returns what the person should know."""
    tiles, notice = read_tuned(origin_here(), tuning.candidates)
    tuned.use(tiles)
    return [] if notice is None else [notice]


def works_for(model: Headers | PackedHeaders, config: EngineConfig) -> dict[str, tuning.Work]:
    """What is to be measured for ``model`` under a settled ``config``."""
    return works_of(_shape(model, config), torch.device(config.device))


def measure(name: str, work: tuning.Work) -> dict[str, Numbers]:
    """The fastest launch configuration for ``name``, nothing where the table's own is."""
    from triton.testing import do_bench

    def seconds(work: tuning.Work) -> float:
        taken: Any = do_bench(work, return_mode="median")  # milliseconds; lists are for quantiles
        return taken / 1000

    return tuning.fastest({name: work}, seconds)


def _shape(model: Headers | PackedHeaders, config: EngineConfig) -> Shape:
    shape, recipe = model.config, recipe_of(config)
    inner = shape.intermediate_size if shape.moe is None else shape.moe.intermediate_size
    all_heads = shape.num_heads + 2 * shape.num_kv_heads
    matrices = (
        (all_heads * shape.head_dim, shape.hidden_size),
        (shape.hidden_size, shape.num_heads * shape.head_dim),
        ((1 + shape.gated_mlp) * inner, shape.hidden_size),
        (shape.hidden_size, inner),
    )
    scheme = None if recipe is None else recipe.scheme("gate")
    return Shape(
        heads=shape.num_heads,
        kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        kv_dtype=BYTES.get(config.kv_dtype) or DTYPES[config.kv_dtype],
        matrices=matrices,
        bits=4 if scheme is None else scheme.bits,
        group=case_of(model, config).group,
        offsets=scheme is None or scheme.affine,
    )
