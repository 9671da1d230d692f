"""``llmrt serve``: models behind an OpenAI-compatible HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from llmrt.cli import access
from llmrt.cli import serve_options as options
from llmrt.cli.calibration import Calibrate, calibration_ids
from llmrt.cli.options import (
    DISK_CACHE,
    Ctx,
    Device,
    DiskCache,
    DraftModel,
    Dtype,
    DtypeName,
    GpuMemory,
    KvDtype,
    KvDtypeName,
    MaxNumSeqs,
    Quant,
    QuantName,
    Revision,
    Speculate,
    SpeculateName,
    Threads,
)
from llmrt.cli.serve_config import CONTEXT_SETTINGS, config_text
from llmrt.config import EngineConfig, ServerSettings
from llmrt.errors import ConfigError
from llmrt.server.logs import LogFormat, log_to_stderr, logger

if TYPE_CHECKING:
    from llmrt.server.served_model import Offer

__all__ = ["CONTEXT_SETTINGS", "serve"]

_SERVER = ServerSettings()


def serve(
    context: typer.Context,
    model: options.ServedModels = None,
    config: options.Config = None,
    print_config: options.PrintConfig = False,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    served_model_name: options.Names = None,
    api_key: options.ApiKey = None,
    api_key_file: options.ApiKeyFile = None,
    admin_key: options.AdminKey = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    cors_origin: options.CorsOrigin = None,
    ctx: Ctx = None,
    quant: Quant = QuantName.stored,
    calibrate: Calibrate = None,
    dtype: Dtype = DtypeName.auto,
    kv_dtype: KvDtype = KvDtypeName.auto,
    device: Device = "auto",
    gpu_memory: GpuMemory = None,
    threads: Threads = None,
    speculate: Speculate = SpeculateName.auto,
    draft_model: DraftModel = None,
    max_num_seqs: MaxNumSeqs = 8,
    disk_cache: DiskCache = DISK_CACHE,
    revision: Revision = None,
    lora: options.Adapters = None,
    keep_alive_seconds: options.KeepAliveSeconds = _SERVER.keep_alive_seconds,
    log_format: options.LogFormatName = LogFormat.text,
    log_prompts: options.LogPrompts = _SERVER.log_prompts,
    ping_seconds: options.PingSeconds = _SERVER.ping_seconds,
    max_open_requests: options.MaxOpenRequests = _SERVER.max_open_requests,
    max_body_mb: options.MaxBodyMb = _SERVER.max_body_mb,
    request_seconds: options.RequestSeconds = _SERVER.request_seconds,
    stall_seconds: options.StallSeconds = _SERVER.stall_seconds,
    drain_seconds: options.DrainSeconds = _SERVER.drain_seconds,
) -> None:
    """Serve models over an OpenAI-compatible HTTP API."""
    if print_config:
        typer.echo(config_text(context), nl=False)
        return
    if not model:
        raise ConfigError("serve needs a model: as its argument, in LLMRT_MODEL, or as model in the --config file.")
    alone = {"--revision": revision, "--lora": lora[0] if lora else None, "--draft-model": draft_model}
    _check_each(model, served_model_name, alone)

    from llmrt.cli.session import draft_path
    from llmrt.server import runner
    from llmrt.server.adapters import parse_adapter
    from llmrt.server.cors import check_cors_origin
    from llmrt.server.tls import tls_context

    log_to_stderr(log_format)
    keys = access.api_keys(context, api_key or [], api_key_file)
    origins = tuple(map(check_cors_origin, cors_origin or []))
    tls = tls_context(tls_cert, tls_key)
    access.warn_of_others(host, keys=keys, encrypted=tls is not None)
    with runner.bind(host, port) as sock:
        engine = EngineConfig(
            context_length=ctx,
            quant=quant,
            dtype=dtype,
            kv_dtype=kv_dtype,
            device=device,
            gpu_memory=gpu_memory,
            threads=threads,
            speculate=speculate,
            draft_model=draft_path(draft_model),
            max_num_seqs=max_num_seqs,
            adapters=tuple(map(parse_adapter, lora or [])),
            disk_cache=disk_cache,
        )
        settings = ServerSettings(
            keep_alive_seconds=keep_alive_seconds,
            ping_seconds=ping_seconds,
            max_open_requests=max_open_requests,
            max_body_mb=max_body_mb,
            request_seconds=request_seconds,
            stall_seconds=stall_seconds,
            drain_seconds=drain_seconds,
            api_keys=keys,
            admin_keys=access.admin_keys(admin_key or []),
            cors_origins=origins,
            log_prompts=log_prompts,
        )
        names = served_model_name or [None] * len(model)
        offers = [_offer(*named, engine, calibrate, revision) for named in zip(model, names, strict=True)]
        with asyncio.Runner(loop_factory=runner.new_event_loop) as loop:
            loop.run(runner.serve(offers, sock, settings=settings, report=reporter(log_format), tls=tls))


def reporter(form: LogFormat) -> Callable[[str], None]:
    """What tells the person who starts the server of it: lines of their terminal, or of a log in JSON."""
    return typer.echo if form == LogFormat.text else logger.info


def _offer(model: str, name: str | None, engine: EngineConfig, calibrate: Path | None, revision: str | None) -> Offer:
    from llmrt.hub.sources import resolve
    from llmrt.server.served_model import Offer

    artifact = resolve(model, revision=revision, report=lambda line: typer.echo(line, err=True))
    if calibrate is not None:
        from llmrt.text.tokenizer import load_tokenizer

        token_ids = calibration_ids(calibrate, engine.quant, load_tokenizer(artifact.path))
        engine = replace(engine, calibration=token_ids)
    return Offer(artifact, engine, name)


def _check_each(models: list[str], names: list[str] | None, alone: Mapping[str, str | None]) -> None:
    """Raise ``ConfigError`` for an option that is not for this many models; those ``alone`` are for one."""
    if names and len(names) != len(models):
        raise ConfigError(f"--served-model-name gives {len(names)} of {len(models)} names; give one for each model.")
    for option, value in alone.items():
        if value and len(models) > 1:
            raise ConfigError(f"{option} {value} is for one model, and these are {len(models)}.")
