"""What each scheme of quantization costs in quality: KL divergence to the unquantized model on a text.

    python -m benchmarks.quality.compare [--json benchmarks/results/quality.json] [--only WORD] [--windows N]

The model is SmolLM2-135M taken off its grid (off_grid.py). Schemes that the JSON has already are not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.quality.off_grid import OffGridCheckpoint
from benchmarks.quality.schemes import CONTEXT, SCHEMES, role_shares
from llmrt.cli.machine import this_machine
from llmrt.engine.hardware.threads import limit_spinning, usable_cores
from llmrt.hub.sources import resolve
from llmrt.model.checkpoints.checkpoint import Checkpoint, open_checkpoint
from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.kv_cache import KVCache
from llmrt.model.loading.load import load_decoder
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.types import OpSpec
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt_kernels.cpu.library import load as load_library

MODEL = "smollm2-135m"
BASELINE = "llama.cpp Q4_0"
TEXTS = Path(__file__).parent / "text"
WINDOW = 1024
ROWS = 256  # of logits that are compared at once


class Cached:
    """A checkpoint whose tensors are made once."""

    def __init__(self, base: Checkpoint) -> None:
        self.config, self.names, self.inventory = base.config, base.names, base.inventory
        self._tensors = {name: base.load(name) for name in base.inventory}

    def load(self, name: str) -> Tensor:
        """One tensor, shared by all who ask for it."""
        return self._tensors[name]


class Truth:
    """The unquantized model's last hidden states for each window, and its head: its logits, for little memory."""

    def __init__(self, checkpoint: Checkpoint, windows: Sequence[Sequence[int]]) -> None:
        decoder = load_decoder(checkpoint, CONTEXT, OpSpec("cpu", torch.float32))
        self._head = decoder.lm_head
        decoder.lm_head = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
        self._hidden = [forward(decoder, window, torch.float32) for window in windows]

    def logits(self, window: int) -> Iterator[Tensor]:
        """Those of a window's tokens, some rows at a time."""
        for rows in self._hidden[window].split(ROWS):
            yield self._head(rows)


def forward(decoder: Decoder, token_ids: Sequence[int], kv_dtype: torch.dtype) -> Tensor:
    """What ``decoder`` gives for every token of one text, in a cache of one page."""
    count = len(token_ids)
    batch = ForwardBatch(
        input_ids=torch.tensor(token_ids),
        positions=torch.arange(count),
        slot_mapping=torch.arange(count),
        cu_seqlens_q=torch.tensor([0, count]),
        seq_lens=torch.tensor([count]),
        block_table=torch.tensor([[0]]),
        max_query_len=count,
        logits_index=None,
    )
    return decoder(batch, KVCache.allocate(decoder.config, 1, count, kv_dtype, torch.device("cpu")))


def divergence(truth: Truth, decoder: Decoder, windows: Sequence[Sequence[int]], kv_dtype: torch.dtype) -> Tensor:
    """KL(truth || decoder) in nats, and whether both find the same token likeliest, [tokens, 2] fp64."""
    found: list[Tensor] = []
    for i, window in enumerate(windows):
        for z, y in zip(truth.logits(i), forward(decoder, window, kv_dtype).split(ROWS), strict=True):
            difference = (z.softmax(-1).unsqueeze(1) @ (z - y).unsqueeze(2)).flatten().double()
            kl = difference - (z.logsumexp(-1).double() - y.logsumexp(-1).double())
            found.append(torch.stack((kl, (z.argmax(-1) == y.argmax(-1)).double()), 1))
    return torch.cat(found)


def run(names: Sequence[str], num_windows: int) -> Iterator[dict[str, Any]]:
    """A record for each scheme."""
    path = resolve(MODEL, report=print).path
    checkpoint = Cached(OffGridCheckpoint(open_checkpoint(path)))
    tokenizer = load_tokenizer(path)
    measured, calibrating = (
        tokenizer.encode((TEXTS / f"{name}.txt").read_text()) for name in ("persuasion", "opticks")
    )
    windows = [measured[i * WINDOW :][:WINDOW] for i in range(num_windows)]
    truth, shares = Truth(checkpoint, windows), role_shares(checkpoint)
    for name in names:
        scheme, start = SCHEMES[name], time.perf_counter()
        decoder = scheme.build(checkpoint, calibrating)
        seconds = time.perf_counter() - start
        found = divergence(truth, decoder, windows, scheme.kv_dtype)
        kl, same = found.mean(0).tolist()
        error = found[:, 0].std().item() / len(found) ** 0.5
        yield {
            "scheme": name,
            "bits": scheme.bits(shares),
            "kl": kl,
            "kl_standard_error": error,
            "top1_agreement": same,
            "tokens": len(found),
            "load_seconds": seconds,
        }


def table(records: dict[str, dict[str, Any]]) -> str:
    """The records in the order of ``SCHEMES``, as Markdown."""
    base = records.get(BASELINE, {"kl": float("nan")})["kl"]
    rows = ["| scheme | bits | KL | of Q4_0 | same likeliest token |", "|---|---|---|---|---|"]
    for record in (records[name] for name in SCHEMES if name in records):
        kl = record["kl"]
        digits = 4 if kl < 0.02 else 3
        rows.append(
            f"| {record['scheme']} | {record['bits']:.4g} | {kl:.{digits}f} | {kl / base:.2g} |"
            f" {record['top1_agreement']:.1%} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Measure what the JSON lacks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default="", help="schemes whose name has this in it")
    parser.add_argument("--windows", type=int, default=20, help=f"of {WINDOW} tokens")
    options = parser.parse_args()
    limit_spinning()
    torch.set_num_threads(usable_cores())
    library = load_library()
    assert library is not None, "the native library is not built"
    library.set_threads(usable_cores())
    report = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    records: dict[str, dict[str, Any]] = {record["scheme"]: record for record in report.get("schemes", [])}
    wanted = [name for name in SCHEMES if options.only in name and name not in records]
    with torch.inference_mode():
        for record in run(wanted, options.windows) if wanted else ():
            records[record["scheme"]] = record
            print(f"{record['scheme']:50} {record['bits']:6.3f} bits  KL {record['kl']:.4f}", flush=True)
            if options.json:
                ordered = [records[name] for name in SCHEMES if name in records]
                found = {"model": MODEL, "isa": library.isa, "schemes": ordered, "machine": asdict(this_machine())}
                options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(records))


if __name__ == "__main__":
    main()
