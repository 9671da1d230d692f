"""The tables of README.md and docs/measured.md and the plot beside them, from the JSON files that the benchmarks wrote.

    python -m benchmarks.report

The pages have marked places, ``<!-- report: NAME -->`` to ``<!-- end -->``; what stands between is replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import short_rate, table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
PAGES = (ROOT / "README.md", ROOT / "docs/measured.md")
PLOT = ROOT / "docs/images/compare.svg"

Json = dict[str, Any]


def main() -> None:
    """Write the pages' places and the plot."""
    from benchmarks.plot import write_plot

    for page in PAGES:
        page.write_text(filled(page.read_text(), RESULTS))
    write_plot(list(comparisons(read(RESULTS / "compare.json"))), PLOT)


def filled(text: str, results: Path) -> str:
    """``text`` with every marked place made from the JSON files in ``results``."""

    def place(match: re.Match[str]) -> str:
        name = match["name"]
        body = SEVERAL[name](results) if name in SEVERAL else SECTIONS[name](read(results / f"{name}.json"))
        return f"<!-- report: {name} -->\n\n{body}\n\n<!-- end -->"

    return re.sub(r"<!-- report: (?P<name>\w+) -->.*?<!-- end -->", place, text, flags=re.DOTALL)


def read(file: Path) -> Json:
    return json.loads(file.read_text())


# Of SmolLM2, each in a file of its own: how it was started.
BENCHES = {
    "smollm2-135m-fp32": "--quant none",
    "smollm2-135m-bf16": "--quant none --dtype bf16",
    "smollm2-135m-int8": "--quant int8",
    "smollm2-135m-int4": "--quant int4",
    "smollm2-135m-int4-8k": "--quant int4 --ctx 8k",
}


def bench(results: Path) -> str:
    """What ``llmrt bench`` says of the real model."""
    head = ("`llmrt bench ...`", "prefill tok/s", "decode tok/s", "first token", "peak memory")
    return table(head, [_benched(f"smollm2-135m {flags}", read(results / f"{n}.json")) for n, flags in BENCHES.items()])


def _benched(command: str, report: Json) -> tuple[str, ...]:
    figures = report["results"]
    rates = (figures["prefill_tokens_per_second"], figures["decode_tokens_per_second"])
    memory = f"{figures['peak_memory_bytes'] / 1e9:.2f} GB"
    return f"`{command}`", *map(short_rate, rates), _seconds(figures["time_to_first_token_seconds"]), memory


def compare(report: Json) -> str:
    """Both engines' rates and their ratio, row by row."""
    rows = [cells for row in report["rows"].values() for cells in _compared(row)]
    return "\n\n".join([_machine(report), table(_COMPARED, rows)])


_COMPARED = ("", "", "llmrt tok/s", "llama.cpp tok/s", "ratio", "weights read, GB/s")
# Files that both engines read, by the names that people know.
FILES = ("Q3_K_M", "IQ4_XS", "Q4_K_M", "Q5_K_M", "Q8_0")


def same_file(results: Path) -> str:
    """The same, of files of each kind that was measured."""
    found = {name: results / f"compare_{name.lower()}.json" for name in FILES}
    reports = {name: read(file) for name, file in found.items() if file.exists()}
    rows = [
        (name, *cells)
        for name, report in reports.items()
        for row in report["rows"].values()
        for cells in _compared(row)
    ]
    return "\n\n".join([_machine(*reports.values()), table(("file", *_COMPARED), rows)])


def comparisons(report: Json) -> Iterator[tuple[Json, str, Json]]:
    """Each row, what is timed in it, and the figures; without the rows that were skipped."""
    for row in report["rows"].values():
        if "skipped" not in row:
            yield from ((row, what(row, metric), row[metric]) for metric in row["metrics"])


def what(row: Json, metric: str) -> str:
    """Such as: prefill of 512 tokens behind 8192."""
    behind = f" behind {row['depth']}" if row["depth"] else ""
    if metric == "prefill":
        return f"prefill of {row['prompt']} tokens{behind}"
    return f"decode{behind}" + (f", {row['batch']} requests" if row["batch"] > 1 else "")


def _compared(row: Json) -> Iterator[tuple[str, ...]]:
    for _, timed, figures in comparisons({"rows": {"": row}}):
        own, peer = figures["llmrt_median"], figures["llama_cpp_median"]
        low, high = figures["ratio_min"], figures["ratio_max"]
        spread = f" ({low:.2f} to {high:.2f})" if len(figures["ratios"]) > 1 else ""
        ratio = f"**{figures['ratio_median']:.2f}**{spread}"
        read = f"{own * row['llmrt_read_bytes'] / 1e9:.1f} : {peer * row['llama_cpp_read_bytes'] / 1e9:.1f}"
        alone = timed == "decode"  # several requests share a read, and a deep cache is read beside the weights
        yield row["title"], timed, short_rate(own), short_rate(peer), ratio, read if alone else ""


def _machine(*reports: Json) -> str:
    """Of reports that differ in their files alone."""
    first = reports[0]
    machine, settings = first["machine"], first["settings"]
    bandwidths = [report["limits"]["read_bytes_per_second"] / 1e9 for report in reports]
    peaks = [report["limits"]["int8_operations_per_second"] / 1e12 for report in reports]
    files = f"{settings['type']} files" if len(reports) == 1 else "the same files"
    return (
        f"{machine['processor']}, {settings['threads']} threads; {_range(bandwidths, 0)} GB/s of"
        f" read bandwidth and {_range(peaks, 2)} T operations/s of 8 bit dot products,"
        f" measured in the same run. llmrt {first['llmrt']['version']} (commit {first['llmrt']['commit']}) with"
        f" `--quant {settings['quant']}`, {first['llama_cpp']['version']} built for this processor with"
        f" {files}, flash attention and a KV cache of {settings['kv']}. Runs alternate; the ratio"
        " is the median of the pairs', with the smallest and the largest."
    )


def _range(values: Sequence[float], digits: int) -> str:
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def startup(report: Json) -> str:
    """Commands, and the first token of a fresh process."""
    commands = [(f"`{name}`", _seconds(times["median"]), "") for name, times in report["commands"].items()]
    tokens = [
        (f"first token, {each['title']}, {state}", _seconds(each[key]["median"]), _seconds(each["llama_cpp"]["median"]))
        for each in report["first_token"].values()
        for state, key in (("as stored", "stored"), ("first run in int4", "cold"), ("later runs in int4", "warm"))
    ]
    return table(("whole processes", "llmrt", "llama.cpp"), [*commands, *tokens])


def large(report: Json) -> str:
    """A checkpoint of 7B parameters: quantizing it, and starting from what that gave."""
    quantizing = f"at most {report['bound_bytes'] / 1e9:.1f} GB"
    named = (
        ("quantize", "`llmrt quantize`, sharded bf16 to packed int4", quantizing),
        ("load", "first token on the shards with `--quant int4`, first run", quantizing),
        ("warm", "first token on the packed folder", ""),
        ("cold", "first token on the packed folder, not in the page cache", ""),
    )
    steps = report["steps"]
    rows = [
        (what, _seconds(steps[key]["seconds"]), f"{steps[key]['peak_bytes'] / 1e9:.1f} GB", bound)
        for key, what, bound in named
    ]
    return table((f"whole processes, shape of {report['alias']}", "time", "peak memory", "its bound"), rows)


def sharing(report: Json) -> str:
    """What is kept of the speed on a busy machine."""
    rows = [
        (
            each["title"],
            f"{short_rate(each['alone'][0])} tok/s",
            f"{each['kept_with_twice_the_threads']:.0%}",
            f"{each['kept_side_by_side']:.0%}",
        )
        for each in report["shapes"].values()
    ]
    return table(("decode", "alone", "kept with twice as many threads as cores", "kept by each of two processes"), rows)


def load(report: Json) -> str:
    """Clients side by side over HTTP."""
    rows = [
        (
            each,
            f"{short_rate(figures['llmrt_median'])} tok/s",
            f"{short_rate(figures['llama_cpp_median'])} tok/s",
            f"**{figures['ratio']:.2f}**",
            f"{figures['http_adds']:.0%}",
        )
        for each, figures in report["streams"].items()
    ]
    return table(("clients", "`llmrt serve`", "llama.cpp's server", "ratio", "HTTP adds to llmrt's engine"), rows)


def server_capacity(report: Json) -> str:
    """What a token takes of each process where the engine computes nothing."""
    rows = [
        (
            f"{row['step_ms']:g} ms" if row["step_ms"] else "nothing",
            str(row["streams"]),
            f"{row['tokens_per_second']:.0f} tok/s",
            f"{row['server_us']:.0f} us",
            f"{row['server_share']:.0%}",
            f"{row['engine_us']:.0f} us",
            f"{row['client_us']:.0f} us",
        )
        for row in report["rows"]
    ]
    head = ("a step takes", "streams", "all together", "a token of the server", "of a core", "engine", "clients")
    return table(head, rows)


def server_requests(report: Json) -> str:
    """What a request takes of each process, beside so many others."""
    rows = [
        (str(row["at_once"]), *(f"{row[f'{name}_ms']:.1f} ms" for name in ("wall", "server", "engine")))
        for row in report["requests"]
    ]
    return table(("requests at once", "each takes", "of a core of the server", "of the engine"), rows)


def fairness(report: Json) -> str:
    """A long prompt beside answers that are being written."""
    figures, settings = report["figures"], report["settings"]
    rows = [
        (
            "between two tokens of an answer",
            f"{1000 * figures['gap_before_median']:.1f} ms",
            f"99 % within {1000 * figures['gap_beside_p99']:.1f} ms",
            f"{figures['gap_ratio']:.2f}",
        ),
        (
            f"first token behind {settings['prompt']} of prompt",
            _seconds(figures["alone_seconds"]),
            _seconds(figures["beside_seconds"]),
            f"{figures['prompt_ratio']:.2f}",
        ),
    ]
    return table(("", "alone", f"the prompt beside {settings['streams']} answers", "ratio"), rows)


def long_context(report: Json) -> str:
    """Prompts of 32k, and a step at their end."""
    rows = [
        (
            each["title"],
            f"{short_rate(median(rates[0] for rates in each['prefill']))} tok/s",
            f"{short_rate(each['average_rate'])} tok/s",
            f"{each['kept_of_prefill']:.0%}",
            f"{short_rate(each['whole_rate'])} tok/s" if each["whole_rate"] else "",
            f"{each['steps']:.2f}",
        )
        for each in report["shapes"].values()
    ]
    head = ("", "prompt of 512", "of 32k, on average", "kept", "computed whole", "a step at 32k, in short steps")
    return table(head, rows)


# Of several files of results, and of one each.
SEVERAL = {
    "bench": bench,
    "server_requests": lambda results: server_requests(read(results / "server_capacity.json")),
    "files": same_file,
    "zen5": lambda results: compare(read(results / "zen5/compare.json")),
    "zen5_files": lambda results: same_file(results / "zen5"),
    "ice_lake": lambda results: compare(read(results / "ice_lake/compare.json")),
    "ice_lake_files": lambda results: same_file(results / "ice_lake"),
}
SECTIONS = {
    "compare": compare,
    "startup": startup,
    "large": large,
    "sharing": sharing,
    "load": load,
    "fairness": fairness,
    "server_capacity": server_capacity,
    "long_context": long_context,
}


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


if __name__ == "__main__":
    main()
