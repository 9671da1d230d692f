"""``llmrt fit``: what a model would take on this machine, and how fast it can be, before it is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.filesize import decimal

from llmrt.cli.headers import known_model
from llmrt.cli.options import (
    Ctx,
    Device,
    Dtype,
    DtypeName,
    GpuMemory,
    KvDtype,
    KvDtypeName,
    MaxNumSeqs,
    Model,
    QuantName,
    Revision,
)
from llmrt.cli.tables import print_facts, print_json
from llmrt.config import STORED, EngineConfig
from llmrt.engine.planning.fit import Fit, Forecast, fit

DEFAULTS = EngineConfig()


def fit_model(
    model: Model,
    ctx: Ctx = None,
    quant: Annotated[QuantName, typer.Option(help="Format of the weights.")] = QuantName.stored,
    dtype: Dtype = DtypeName.auto,
    kv_dtype: KvDtype = KvDtypeName.auto,
    device: Device = "auto",
    gpu_memory: GpuMemory = None,
    max_num_seqs: MaxNumSeqs = DEFAULTS.max_num_seqs,
    revision: Revision = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether a model fits this machine and how fast it can be at most; exit 1 if it does not fit.

    Of a model that is not pulled only headers are fetched. The options are those of `llmrt serve`.
    """
    config = EngineConfig(
        context_length=ctx,
        quant=quant,
        dtype=dtype,
        kv_dtype=kv_dtype,
        device=device,
        gpu_memory=gpu_memory,
        max_num_seqs=max_num_seqs,
    )
    with known_model(model, revision) as known:
        found = fit(known.headers, config)
    if as_json:
        print_json({"model": model, "source": known.source, **vars(found)})
    else:
        print_facts([("model", model), ("known from", known.source), *_facts(found)])
    if not found.fits:
        raise typer.Exit(1)


def _facts(found: Fit) -> Iterator[tuple[str, str]]:
    weights = {"none": found.dtype, STORED: "as stored"}.get(found.quant, found.quant)
    yield "runs as", f"{weights} on the {found.device}, KV cache {found.kv_dtype}"
    yield "weights", decimal(found.weight_bytes)
    yield "KV cache", f"{decimal(found.kv_bytes)} for {found.context_length:,} tokens"
    yield "workspace", decimal(found.workspace_bytes)
    yield "needed", decimal(found.needed_bytes)
    yield "available", f"{decimal(found.available_bytes)} of {found.where}"
    yield "fits", "yes" if found.refusal is None else f"no. {found.refusal}"
    if found.cache_bytes:
        yield "requests", f"{_requests(found)} of {found.context_length:,} tokens side by side"
    yield "longest context", f"{found.longest_context:,} tokens"
    if found.forecast is None:
        yield "speed", "no forecast: what the device does at most is not known for this model; see llmrt doctor"
    else:
        yield from _speed(found, found.forecast)
    for notice in found.notices:
        yield "note", notice


def _requests(found: Fit) -> int:
    return found.cache_bytes // found.kv_bytes


def _speed(found: Fit, forecast: Forecast) -> Iterator[tuple[str, str]]:
    limits = forecast.limits
    behind = f"{_rate(forecast.decode_at_context)} behind {found.context_length:,} tokens"
    yield "decode", f"up to {_rate(forecast.decode)} tok/s, {behind}"
    if forecast.prefill is not None:
        yield "prefill", f"up to {_rate(forecast.prefill)} tok/s"
    yield "memory reads", f"{limits.read_bytes_per_second / 1e9:.1f} GB/s, {limits.source}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
