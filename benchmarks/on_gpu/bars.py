"""What an H200 is to reach, beside what it reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Outcome = Mapping[str, Any]  # of a section, see ``Sections``; its rows
Figure = Callable[..., float]  # from the rows of the bar's sections

LARGE = ("linear-7B down", "gated_linear-7B gate_up")  # matrices of 30 MB and more in int4
FEW, SOME, MANY = 1, 16, 4096  # tokens of a product
PROMPTS, DEEP = (4096, 16384, 32768), 32768  # keys
CHUNK = 2048  # tokens of a prompt
ONE, MOST = 1, 64  # streams
TOLERANCE = 0.1  # of log-probabilities: 32 layers, each rounded to bf16, of logits whose deviation is 1.3


@dataclass(frozen=True)
class Bar:
    """A ``figure`` of ``sections`` that is to be ``needed`` or more, or at most that."""

    name: str
    needed: float
    sections: tuple[str, ...]
    figure: Figure
    excellent: float | None = None
    at_most: bool = False

    def verdict(self, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
        """``met`` is None for what was not measured."""
        figure = self._figure(outcomes)
        met = None if figure is None else (figure <= self.needed if self.at_most else figure >= self.needed)
        needed = f"{'<=' if self.at_most else '>='} {self.needed:g}"
        excellent = "" if self.excellent is None else f" ({self.excellent:g})"
        return {"bar": self.name, "needed": needed + excellent, "figure": figure, "met": met}

    def _figure(self, outcomes: Mapping[str, Outcome]) -> float | None:
        try:
            return float(self.figure(*(outcomes[name]["rows"] for name in self.sections)))
        except (KeyError, TypeError, ValueError):  # a row that is missing, or has None
            return None


def verdicts(outcomes: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """Of the bars whose sections were all to be run."""
    return [bar.verdict(outcomes) for bar in BARS if outcomes.keys() >= {*bar.sections}]


def table(found: Iterable[Mapping[str, Any]]) -> str:
    """A line for each."""
    words = {True: "met", False: "NOT MET", None: "not measured"}
    lines = [f"{'bar':54} {'needed':>12} {'figure':>9}"]
    for each in found:
        figure = "-" if each["figure"] is None else f"{each['figure']:.4g}"
        lines.append(f"{each['bar']:54} {each['needed']:>12} {figure:>9}  {words[each['met']]}")
    return "\n".join(lines)


def product(rows: Outcome, tokens: int, field: str, weight: str = "int4") -> float:
    """The least of the large matrices."""
    return min(rows[f"{matrix}-{weight}-{tokens}"][field] for matrix in LARGE)


def rate(rows: Outcome, streams: int = 1) -> float:
    """Tokens a second."""
    return rows[f"decode_{streams}"]["tokens_per_second"]


def share_passed(rows: Outcome) -> float:
    """Of runs of tests."""
    return sum(row["passed"] for row in rows.values()) / len(rows)


def of_products() -> list[Bar]:
    """Products, of the two large matrices the one that does worse."""
    of = ("linear",)
    return [
        Bar("int4, 1 token: of the copy bandwidth", 0.6, of, lambda rows: product(rows, FEW, "copy"), 0.75),
        Bar("int4, 1 token: times torch's int4", 1.5, of, lambda rows: product(rows, FEW, "over_int4"), 2),
        Bar("int4, 1 token: times cuBLAS bf16", 2.5, of, lambda rows: product(rows, FEW, "over_bf16")),
        Bar("int4, 16 tokens: times cuBLAS bf16", 2.3, of, lambda rows: product(rows, SOME, "over_bf16")),
        Bar("int4, 4096 tokens: times cuBLAS bf16", 0.85, of, lambda rows: product(rows, MANY, "over_bf16")),
        Bar("bf16, 1 token: of the copy bandwidth", 0.85, of, lambda rows: product(rows, FEW, "copy", "bf16"), 0.95),
    ]


def of_attention() -> list[Bar]:
    """With a cache of bf16."""

    def prompts(rows: Outcome) -> float:
        return min(rows[f"prefill-bf16-1x{keys}"]["over_best"] for keys in PROMPTS)

    def decode(rows: Outcome) -> float:
        return rows[f"decode-bf16-1x{DEEP}"]["copy"]

    return [
        Bar("prompts of 4k to 32k: times the best of SDPA", 0.65, ("attention",), prompts, 0.8),
        Bar("decode at 32k: of the copy bandwidth", 0.75, ("attention",), decode),
    ]


def of_model(name: str, quant: str, needed: float, excellent: float | None = None) -> list[Bar]:
    """Rates, memory, and whether answers depend on graphs or on those beside them."""

    def host(rows: Outcome) -> float:
        return max(rows[f"decode_{streams}"]["host_ms_per_step"] for streams in (ONE, MOST))

    of, batches, graphs = (f"7b-{quant}",), (f"batches-{quant}",), (f"graphs-{quant}",)
    return [
        Bar(f"{name}: tokens a second", needed, of, rate, excellent),
        Bar(f"{name}: 64 streams, times one", 15, of, lambda rows: rate(rows, MOST) / rate(rows, ONE)),
        Bar(f"{name}: host's ms in a decode step", 0.15, of, host, at_most=True),
        Bar(
            f"{name}: 32k, of the memory planned",
            1,
            of,
            lambda rows: rows["spike_at_32k"]["share_of_plan"],
            at_most=True,
        ),
        Bar(f"{name}: graphs give the bits of single launches", 1, graphs, lambda rows: rows["same"]),
        Bar(
            f"{name}: alone or among 8, log-probabilities apart",
            TOLERANCE,
            batches,
            lambda rows: rows["largest_difference"],
            at_most=True,
        ),
        Bar(
            f"{name}: the gap where tokens part",
            TOLERANCE,
            batches,
            lambda rows: rows["gap_where_they_part"],
            at_most=True,
        ),
    ]


def of_others() -> list[Bar]:
    """Single ones."""

    def prompt(rows: Outcome) -> float:
        return rows[f"prefill_{CHUNK}"]["share_of_matmul_rate"]

    def times_peer(rows: Outcome, peer: Outcome) -> float:
        return rate(rows) / peer["tokens_per_second"]

    def experts(rows: Outcome) -> float:
        return rows["decode_1"]["share_of_copy_bandwidth"]

    return [
        Bar("7B int8: tokens a second", 400, ("7b-int8",), rate),
        Bar("7B bf16: prompts, of the matmul rate", 0.55, ("7b-bf16",), prompt),
        Bar("7B bf16: times transformers", 5, ("7b-bf16", "transformers-7b-bf16"), times_peer),
        Bar("Mixtral int4: of the copy bandwidth", 0.45, ("mixtral-int4",), experts),
        Bar("kernels' tests on the device that pass", 1, ("tests",), share_passed),
        Bar("tests beside transformers that pass", 1, ("parity",), share_passed),
        Bar("compute-sanitizer's tools that find nothing", 1, ("sanitizer",), share_passed),
    ]


BARS: Sequence[Bar] = (
    *of_products(),
    *of_attention(),
    *of_model("7B int4", "int4", 420, 600),
    *of_model("7B bf16", "bf16", 245),
    *of_others(),
)
