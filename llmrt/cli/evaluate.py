"""``llmrt eval``: what quantizing a model costs, on a text."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmrt.cli.calibration import Calibrate, calibration_ids
from llmrt.cli.describe_packed import evaluation_facts
from llmrt.cli.options import DtypeName, KvDtype, KvDtypeName, Model, Quant, QuantName, Revision, Threads, parse_size
from llmrt.cli.progress import progress_bar
from llmrt.cli.session import LocalModel, find_model
from llmrt.cli.tables import print_facts, print_json
from llmrt.cli.terminal import say
from llmrt.config import EngineConfig
from llmrt.engine.hardware.threads import importing_torch
from llmrt.errors import ConfigError
from llmrt.hub.packed import evaluation_file
from llmrt.hub.sources import resolve
from llmrt.model.checkpoints.headers import PackedHeaders, open_headers
from llmrt.model.checkpoints.kept import stored_group
from llmrt.model.checkpoints.packed_header import packed_file, read_header
from llmrt.model.checkpoints.source_identity import source_identity
from llmrt.text.model_files import read_text

if TYPE_CHECKING:
    from llmrt.engine.conversion.evaluate import Evaluation

WINDOW = 1024
Text = Annotated[Path, typer.Option("--text", help="A UTF-8 text file to predict.")]
Window = Annotated[int, typer.Option("--window", min=2, help="Tokens that are read together.")]
Tokens = Annotated[
    int | None, typer.Option("--tokens", parser=parse_size, metavar="TOKENS", help="Of the text's beginning; else all.")
]


def eval_model(
    model: Model,
    text: Text,
    quant: Quant = QuantName.stored,
    calibrate: Calibrate = None,
    kv_dtype: KvDtype = KvDtypeName.auto,
    tokens: Tokens = None,
    window: Window = WINDOW,
    dtype: Annotated[DtypeName, typer.Option(help="The full-precision model's weights and activations.")] = (
        DtypeName.auto
    ),
    source: Annotated[
        str | None, typer.Option(help="The full-precision model of one that is packed; else where it was made from.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    threads: Threads = None,
    revision: Revision = None,
) -> None:
    """Compare a quantized model with its full-precision source on a text: perplexity, KL divergence, agreement."""
    local = find_model(model, revision)
    full = full_precision(local.path, source)
    if full is None and kv_dtype == KvDtypeName.auto and not _is_rounded(local.path, quant):
        raise ConfigError("There is nothing to compare: name a format with --quant or --kv-dtype.")
    config = EngineConfig(
        quant=quant,
        calibration=calibration_ids(calibrate, quant, local.tokenizer),
        dtype=dtype,
        kv_dtype=kv_dtype,
        threads=threads,
    )
    result = evaluated(local, full or local.path, config, text, tokens=tokens, window=window)
    if (packed := packed_file(local.path)) is not None:
        save_evaluation(packed, result, text)
    if as_json:
        print_json(result)
    else:
        print_facts(evaluation_facts(asdict(result)))


def _is_rounded(model: Path, quant: QuantName) -> bool:
    """Whether the weights of ``model`` that is not packed are in codes under ``quant``."""
    if quant == QuantName.stored:
        headers = open_headers(model)
        return not isinstance(headers, PackedHeaders) and stored_group(headers.inventory) > 0
    return quant != QuantName.none


def full_precision(model: Path, source: str | None) -> Path | None:
    """Where the source of a packed model is; None for a model that is full precision itself.

    Raises ``ConfigError`` if it is not there any more or is another model.
    """
    packed = packed_file(model)
    if packed is None:
        if source is not None:
            raise ConfigError(f"--source {source}: {model} is no packed model, so it is its own source.")
        return None
    header = read_header(packed)
    path = Path(header.source_path) if source is None else resolve(source, report=say).path
    if not path.exists():
        raise ConfigError(f"{model} was made from {path}, which is not there; name its source with --source.")
    if source_identity(path) != header.source:
        raise ConfigError(f"{path} is not what {model} was made from; name its source with --source.")
    return path


def evaluated(
    local: LocalModel, full: Path, config: EngineConfig, text: Path, *, tokens: int | None = None, window: int = WINDOW
) -> Evaluation:
    """Compare the model under ``config`` with ``full`` on the file ``text``. Raises ``LlmrtError``."""
    token_ids = local.tokenizer.encode(read_text(text), add_special_tokens=False)[:tokens]
    with progress_bar("evaluating", "tokens") as bar:
        with importing_torch():
            from llmrt.engine.conversion.evaluate import evaluate, windows_of
            from llmrt.engine.loading.load_model import open_model
        quantized = open_model(local.path)
        # What the model expects before a text; a window without it is predicted worse than the model can.
        windows = windows_of(token_ids, min(window, quantized.config.context_length), local.tokenizer.encode("")[:1])
        bar.begin(sum(map(len, windows)))
        return evaluate(open_model(full), quantized, config, windows, bar.advance)


def save_evaluation(packed: Path, result: Evaluation, text: Path) -> None:
    """Keep the figures beside the weights, where ``llmrt show`` finds them."""
    import msgspec

    record = asdict(result) | {"text": text.name}
    try:
        evaluation_file(packed).write_bytes(msgspec.json.format(msgspec.json.encode(record)))
    except OSError as error:
        say(f"note: the figures are not kept beside {packed}: {error.strerror}")
