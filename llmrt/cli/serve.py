"""``llmrt serve``: a model behind an OpenAI-compatible HTTP API."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import typer

from llmrt.cli.calibration import Calibrate, calibration_ids
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
    Quant,
    QuantName,
    Revision,
    Threads,
)
from llmrt.config import EngineConfig


def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    ctx: Ctx = None,
    quant: Quant = QuantName.none,
    calibrate: Calibrate = None,
    dtype: Dtype = DtypeName.auto,
    kv_dtype: KvDtype = KvDtypeName.auto,
    device: Device = "auto",
    gpu_memory: GpuMemory = None,
    threads: Threads = None,
    max_num_seqs: MaxNumSeqs = 8,
    revision: Revision = None,
    served_model_name: Annotated[str | None, typer.Option(help="The model's id in the API; else its name.")] = None,
    ping_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds between comment lines in a silent stream; 0 sends none.")
    ] = 5.0,
) -> None:
    """Serve a model over an OpenAI-compatible HTTP API."""
    from llmrt.hub.sources import resolve
    from llmrt.server import runner
    from llmrt.server.state import ServerSettings
    from llmrt.text.tokenizer import load_tokenizer

    _log_to_stderr()
    with runner.bind(host, port) as sock:
        artifact = resolve(model, revision=revision, report=lambda line: typer.echo(line, err=True))
        config = EngineConfig(
            context_length=ctx,
            quant=quant,
            calibration=calibration_ids(calibrate, quant, load_tokenizer(artifact.path)) if calibrate else None,
            dtype=dtype,
            kv_dtype=kv_dtype,
            device=device,
            gpu_memory=gpu_memory,
            threads=threads,
            max_num_seqs=max_num_seqs,
        )
        settings = ServerSettings(ping_seconds=ping_seconds)
        asyncio.run(runner.serve(artifact, config, sock, settings=settings, report=typer.echo, name=served_model_name))


def _log_to_stderr() -> None:
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("llmrt").setLevel(logging.INFO)
