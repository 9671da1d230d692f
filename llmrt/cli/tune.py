"""``llmrt tune``: which forms of the GPU's kernels are the fastest on this machine. Nothing else ever measures them."""

from __future__ import annotations

import typer

from llmrt.cli.headers import known_model
from llmrt.cli.options import Device, KvDtype, KvDtypeName, Model, Quant, QuantName, Revision
from llmrt.config import EngineConfig
from llmrt.errors import ConfigError


def tune(
    model: Model,
    quant: Quant = QuantName.stored,
    kv_dtype: KvDtype = KvDtypeName.auto,
    device: Device = "auto",
    revision: Revision = None,
) -> None:
    """Measure which forms of the GPU's kernels are the fastest for a model here, and keep them for every start.

    It takes some minutes and no weights. What was kept for other models stays where this one has nothing to say.
    """
    from llmrt.engine.loading.load_model import settle
    from llmrt.engine.planning.settle import case_of
    from llmrt.ops.rules import triton_refusal

    with known_model(model, revision) as known:
        config, notices = settle(known.headers, EngineConfig(quant=quant, kv_dtype=kv_dtype, device=device))
        for notice in notices:
            typer.echo(notice, err=True)
        if config.device == "cpu":
            raise ConfigError("llmrt tune measures a GPU's kernels, and this would run on the cpu; see `llmrt doctor`.")
        if (refusal := triton_refusal(case_of(known.headers, config))) is not None:
            raise ConfigError(f"There is nothing to measure: Triton's kernels do not run this model, for {refusal}.")
        from llmrt.engine.loading.tuned_file import write_tuned
        from llmrt.engine.loading.tuned_kernels import measure, origin_here, works_for

        works = works_for(known.headers, config)
    tiles: dict[str, tuple[int, ...]] = {}
    for name, work in works.items():
        found = measure(name, work)
        typer.echo(f"{name}: {' '.join(map(str, found[name])) if found else 'the built-in one is the fastest'}")
        tiles |= found
    typer.echo(f"wrote {write_tuned(origin_here(), tiles, replacing=works)}")
