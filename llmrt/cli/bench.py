"""``llmrt bench``: how fast a model runs on this machine."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated

import typer

from llmrt.cli.bench_report import Report, make_report, print_report
from llmrt.cli.bench_target import FALLBACK, Target, chosen_target, named_target, random_target, smallest_alias
from llmrt.cli.calibration import calibration_ids
from llmrt.cli.engine_options import ModelOptions
from llmrt.cli.loading import load_engine
from llmrt.cli.measure import DEFAULT_REPEAT, LONG_RUN_SECONDS, Workload, measure
from llmrt.cli.options import parse_size
from llmrt.cli.progress import progress_bar
from llmrt.cli.tables import print_json
from llmrt.cli.terminal import say
from llmrt.config import EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.errors import ConfigError, MemoryFitError
from llmrt.text.load_tokenizer import load_tokenizer

DEFAULT_PROMPT = 512


def bench(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A model as for chat; else the largest pulled one that has the context."),
    ] = None,
    prompt: Annotated[
        int | None, typer.Option(parser=parse_size, metavar="TOKENS", help=f"Length of the prompt; {DEFAULT_PROMPT}.")
    ] = None,
    gen: Annotated[int, typer.Option(min=1, help="Tokens generated after the prompt.")] = 128,
    ctx: Annotated[
        int | None,
        typer.Option(parser=parse_size, metavar="TOKENS", help="Fill this context: the prompt is what --gen leaves."),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            parser=parse_size,
            metavar="TOKENS",
            help="Begin behind so many tokens, not computed but random in the cache.",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Requests side by side; rates are of all together.")] = 1,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Take the shape of MODEL alone: an alias, or a config.json.")
    ] = False,
    layers: Annotated[
        int | None, typer.Option(min=1, help="With --random-weights: as many layers, where memory cannot hold all.")
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"Runs; else {DEFAULT_REPEAT}, or one that takes more than {LONG_RUN_SECONDS:.0f} seconds."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures, settings and machine as JSON.")] = False,
    options: ModelOptions = ModelOptions(),
) -> None:
    """Measure a model's speed on this machine: prefill and decode, without the prefix cache."""
    workload = replace(_workload(prompt, gen, ctx, depth or 0), batch=batch)
    target = _target(model, random_weights, layers, workload, options.revision)
    _check_length(target, workload)
    config = options.config(
        context_length=workload.num_tokens,
        calibration=_calibration(target, options),
        max_num_seqs=batch,
        prefix_caching=False,
    )
    report = _measured(target, config, workload, repeat)
    if as_json:
        print_json(report)
    else:
        print_report(report)


def _workload(prompt: int | None, gen: int, ctx: int | None, depth: int) -> Workload:
    """Raises ``ConfigError`` for lengths that contradict each other."""
    if ctx is None:
        return Workload(DEFAULT_PROMPT if prompt is None else prompt, gen, depth)
    if prompt is not None:
        raise ConfigError("--ctx fills a context and so sets the prompt's length; leave out --prompt or --ctx.")
    if ctx <= gen + depth:
        raise ConfigError(f"--ctx is {ctx}, which leaves no prompt before the {gen} tokens of --gen.")
    return Workload(ctx - gen - depth, gen, depth)


def _target(
    model: str | None, random_weights: bool, layers: int | None, workload: Workload, revision: str | None
) -> Target:
    if revision is not None and (model is None or random_weights):
        raise ConfigError(f"--revision {revision} names the files of MODEL, and none are read; leave it out.")
    if layers is not None and not random_weights:
        raise ConfigError(f"--layers {layers} changes the shape of a model, which goes with --random-weights alone.")
    if model is not None:
        return random_target(model, layers=layers) if random_weights else named_target(model, revision)
    target = (
        random_target(FALLBACK, "no model is named", layers) if random_weights else chosen_target(workload.num_tokens)
    )
    say(f"measuring {target.name}, {target.detail}: {target.reason}")
    return target


def _check_length(target: Target, workload: Workload) -> None:
    most = target.config.max_context_length
    if workload.num_tokens > most:
        parts = f"{workload.num_prompt_tokens} tokens of prompt and {workload.num_output_tokens} generated"
        at_depth = f" at a depth of {workload.depth}" if workload.depth else ""
        raise ConfigError(
            f"{parts}{at_depth} are {workload.num_tokens}; {target.name} takes at most {most}."
            f" Use a smaller --ctx, {'--depth, ' if workload.depth else ''}--prompt or --gen."
        )


def _calibration(target: Target, options: ModelOptions) -> tuple[int, ...] | None:
    if options.calibrate is None:
        return None
    if target.path is None:
        raise ConfigError(f"--calibrate {options.calibrate} needs a model; random weights are rounded without a text.")
    return calibration_ids(options.calibrate, options.quant, load_tokenizer(target.path))


def _measured(target: Target, config: EngineConfig, workload: Workload, repeat: int | None) -> Report:
    start = time.perf_counter()
    engine = _loaded(target, config, workload)
    load_seconds = time.perf_counter() - start
    with progress_bar("measuring", "tokens") as bar:
        runs = measure(engine, workload, repeat=repeat, bar=bar)
    if repeat is None and len(runs) == 1:
        say(f"note: one run alone, for it took more than {LONG_RUN_SECONDS:.0f} seconds; --repeat asks for more")
    return make_report(target, engine.config, workload, runs, load_seconds)


def _loaded(target: Target, config: EngineConfig, workload: Workload) -> LLMEngine:
    try:
        return load_engine(target.open_model, config)
    except MemoryFitError as error:
        if target.reason is None:
            raise
        raise MemoryFitError(
            f"{target.name} was measured because {target.reason}. {error}"
            f" Or name a smaller model, such as: llmrt bench {smallest_alias(workload.num_tokens)} --random-weights"
        ) from error
