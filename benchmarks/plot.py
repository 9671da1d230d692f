"""The comparison as a picture: a bar for each row, llama.cpp's speed being 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from benchmarks.figures import short_rate

matplotlib.use("svg")
import matplotlib.pyplot as plt

# Colours that stand out from white and from near black.
TEXT, FASTER, SLOWER = "#7d8590", "#3b82f6", "#e0823d"
ROW_INCHES = 0.34


def write_plot(rows: Sequence[tuple[dict[str, Any], str, dict[str, Any]]], path: Path) -> None:
    """Write the SVG of ``benchmarks.report.comparisons``; the same rows give the same file."""
    plt.rcParams.update({"svg.hashsalt": "llmrt", "font.size": 10, "font.family": "DejaVu Sans"})
    for name in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color"):
        plt.rcParams[name] = TEXT
    figure, axes = plt.subplots(figsize=(9, ROW_INCHES * len(rows) + 0.9))
    for y, (_, _, figures) in enumerate(rows):
        ratio = figures["ratio_median"]
        axes.barh(y, ratio, height=0.62, color=FASTER if ratio >= 1 else SLOWER)
        axes.plot([figures["ratio_min"], figures["ratio_max"]], [y, y], color=TEXT, linewidth=1.5)
        rates = f"{short_rate(figures['llmrt_median'])} : {short_rate(figures['llama_cpp_median'])} tok/s"
        axes.text(max(figures["ratio_max"], 1) + 0.06, y, f"{ratio:.2f}x   {rates}", va="center")
    axes.axvline(1, color=TEXT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(rows)), [f"{row['title']}: {timed}" for row, timed, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, max(figures["ratio_max"] for _, _, figures in rows) + 1.2)
    axes.set_xlabel("speed of llmrt, llama.cpp = 1")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
