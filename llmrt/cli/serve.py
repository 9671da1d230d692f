"""``llmrt serve``: a model behind an OpenAI-compatible HTTP API."""

from __future__ import annotations

import asyncio
import logging

import typer

from llmrt.cli import access
from llmrt.cli import serve_options as options
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
    Quant,
    QuantName,
    Revision,
    Threads,
)
from llmrt.cli.serve_config import CONTEXT_SETTINGS, config_text
from llmrt.config import EngineConfig, ServerSettings
from llmrt.errors import ConfigError

__all__ = ["CONTEXT_SETTINGS", "serve"]

_SERVER = ServerSettings()


def serve(
    context: typer.Context,
    model: options.ServedModel = None,
    config: options.Config = None,
    print_config: options.PrintConfig = False,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    served_model_name: options.Name = None,
    api_key: options.ApiKey = None,
    api_key_file: options.ApiKeyFile = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    cors_origin: options.CorsOrigin = None,
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
    ping_seconds: options.PingSeconds = _SERVER.ping_seconds,
    max_open_requests: options.MaxOpenRequests = _SERVER.max_open_requests,
    max_body_mb: options.MaxBodyMb = _SERVER.max_body_mb,
    request_seconds: options.RequestSeconds = _SERVER.request_seconds,
    stall_seconds: options.StallSeconds = _SERVER.stall_seconds,
    drain_seconds: options.DrainSeconds = _SERVER.drain_seconds,
) -> None:
    """Serve a model over an OpenAI-compatible HTTP API."""
    if print_config:
        typer.echo(config_text(context), nl=False)
        return
    if model is None:
        raise ConfigError("serve needs a model: as its argument, in LLMRT_MODEL, or as model in the --config file.")

    from llmrt.hub.sources import resolve
    from llmrt.server import runner
    from llmrt.server.cors import check_cors_origin
    from llmrt.server.tls import tls_context
    from llmrt.text.tokenizer import load_tokenizer

    _log_to_stderr()
    keys = access.api_keys(context, api_key or [], api_key_file)
    origins = tuple(map(check_cors_origin, cors_origin or []))
    tls = tls_context(tls_cert, tls_key)
    access.warn_of_others(host, keys=keys, encrypted=tls is not None)
    with runner.bind(host, port) as sock:
        artifact = resolve(model, revision=revision, report=lambda line: typer.echo(line, err=True))
        engine = EngineConfig(
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
        settings = ServerSettings(
            ping_seconds=ping_seconds,
            max_open_requests=max_open_requests,
            max_body_mb=max_body_mb,
            request_seconds=request_seconds,
            stall_seconds=stall_seconds,
            drain_seconds=drain_seconds,
            api_keys=keys,
            cors_origins=origins,
        )
        serving = runner.serve(
            artifact, engine, sock, settings=settings, report=typer.echo, name=served_model_name, tls=tls
        )
        asyncio.run(serving)


def _log_to_stderr() -> None:
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("llmrt").setLevel(logging.INFO)
