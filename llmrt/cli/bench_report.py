"""What ``llmrt bench`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.filesize import decimal
from rich.table import Table

from llmrt.cli.bench_target import Target
from llmrt.cli.machine import Machine, peak_memory, this_machine
from llmrt.cli.measure import Run, Workload, median
from llmrt.cli.progress import compact
from llmrt.cli.tables import console
from llmrt.config import STORED, EngineConfig
from llmrt.engine.hardware.threads import usable_cores
from llmrt.model.checkpoints.tensor_slots import num_parameters


@dataclass(frozen=True, kw_only=True)
class Model:
    """``weights`` are "checkpoint" or "random"."""

    name: str
    detail: str
    weights: str
    family: str
    parameters: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What was measured, as it was used."""

    prompt_tokens: int
    output_tokens: int
    depth: int
    batch: int
    context_length: int
    quant: str
    dtype: str
    kv_dtype: str
    threads: int
    batched_tokens: int
    prefix_caching: bool
    repeat: int


@dataclass(frozen=True, kw_only=True)
class Results:
    """Medians, then each run. Rates are tokens a second, times seconds, memory bytes; see ``Run`` for the share."""

    prefill_tokens_per_second: float
    decode_tokens_per_second: float | None
    decode_host_share: float | None
    time_to_first_token_seconds: float
    load_seconds: float
    peak_memory_bytes: int
    runs: tuple[Run, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """One measurement, as ``--json`` prints it; ``date`` is UTC."""

    model: Model
    settings: Settings
    results: Results
    machine: Machine
    date: str


def make_report(
    target: Target, config: EngineConfig, workload: Workload, runs: Sequence[Run], load_seconds: float
) -> Report:
    """Put a measurement that was just made with an engine of ``config`` together; imports torch."""
    middle = median(runs)
    return Report(
        model=Model(
            name=target.name,
            detail=target.detail,
            weights="random" if target.path is None else "checkpoint",
            family=target.config.family,
            parameters=num_parameters(target.config),
        ),
        settings=Settings(
            prompt_tokens=workload.num_prompt_tokens,
            output_tokens=workload.num_output_tokens,
            depth=workload.depth,
            batch=workload.batch,
            context_length=workload.num_tokens,
            quant=config.quant,
            dtype=config.dtype,
            kv_dtype=config.kv_dtype,
            threads=config.threads or usable_cores(),
            batched_tokens=config.step_tokens,
            prefix_caching=config.prefix_caching,
            repeat=len(runs),
        ),
        results=Results(
            prefill_tokens_per_second=middle.prefill_rate,
            decode_tokens_per_second=middle.decode_rate,
            decode_host_share=middle.decode_host_share,
            time_to_first_token_seconds=middle.time_to_first_token,
            load_seconds=load_seconds,
            peak_memory_bytes=peak_memory(),
            runs=tuple(runs),
        ),
        machine=this_machine(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def print_report(report: Report) -> None:
    """Print the figures as a table, and below them what they were measured on."""
    model = report.model
    table = Table(box=None, pad_edge=False, show_header=False)
    for justify in ("left", "right", "left"):
        table.add_column(justify=justify)
    for row in _figures(report):
        table.add_row(*row)
    out = console()
    out.print(f"{model.name}: {compact(model.parameters)} parameters, {model.detail}", style="bold", markup=False)
    out.print(table)
    for line in _circumstances(report):
        out.print(line, style="dim", markup=False)


def _figures(report: Report) -> list[tuple[str, str, str]]:
    settings, results, runs = report.settings, report.results, report.results.runs
    at_depth = f" at a depth of {settings.depth}" if settings.depth else ""
    side_by_side = f", {settings.batch} requests" if settings.batch > 1 else ""
    decode_rates = [run.decode_rate for run in runs if run.decode_rate is not None]
    return [
        (
            f"prefill, {settings.prompt_tokens} tokens{at_depth}{side_by_side}",
            f"{_number(results.prefill_tokens_per_second)} tokens/s",
            _range([run.prefill_rate for run in runs]),
        ),
        (
            f"decode, {settings.output_tokens} tokens after them{side_by_side}",
            f"{_number(results.decode_tokens_per_second)} tokens/s",
            _range(decode_rates),
        ),
        (
            "time to first token",
            f"{_number(results.time_to_first_token_seconds)} s",
            _range([run.time_to_first_token for run in runs]),
        ),
        ("decode outside of kernels", _percent(results.decode_host_share), ""),
        ("load", f"{_number(results.load_seconds)} s", ""),
        ("peak memory", decimal(results.peak_memory_bytes), ""),
    ]


def _circumstances(report: Report) -> list[str]:
    machine, settings = report.machine, report.settings
    known = {"none": f"as stored, computed in {settings.dtype}", STORED: "quantized as stored"}
    weights = known.get(settings.quant, settings.quant)
    cores = f"{machine.cores or machine.logical_cores or '?'} cores"
    memory = f"{decimal(machine.memory_bytes)} of memory{' (a limit)' if machine.memory_is_limited else ''}"
    return [
        f"{machine.processor}, {cores}, {settings.threads} threads, {memory}",
        f"weights {weights}, KV cache {settings.kv_dtype}, torch {machine.torch}, llmrt {machine.llmrt}, {report.date}",
        f"median of {settings.repeat} runs" if settings.repeat > 1 else "one run",
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _range(values: Sequence[float]) -> str:
    return f"{_number(min(values))} to {_number(max(values))}" if len(values) > 1 else ""
