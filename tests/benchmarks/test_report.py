"""What the pages say of speed is what the committed files say."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.peers.pairs import Limits, measure_pairs
from benchmarks.peers.rows import QUICK, ROWS, Row
from benchmarks.report import PAGES, RESULTS, SECTIONS, SEVERAL, compare, filled


def test_the_pages_are_what_the_files_say() -> None:
    texts = [page.read_text() for page in PAGES]
    assert sorted(re.findall(r"<!-- report: (\w+) -->", "".join(texts))) == sorted([*SECTIONS, *SEVERAL])
    assert [filled(text, RESULTS) for text in texts] == texts, "run `make report`"


class Scripted:
    """Answers with the next of its rates."""

    def __init__(self, *rates: float) -> None:
        self._rates = iter(rates)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        rate = next(self._rates) if fields["gen"] != 2 else 0.0  # the warm-up
        return {"prefill_rate": rate, "decode_rate": 2 * rate}


def test_ratios_are_of_the_pairs(monkeypatch: Any) -> None:
    monkeypatch.setattr("benchmarks.peers.pairs.PAUSE", 0)
    row = Row("key", "1.1b", 512, 16, depth=8192)
    figures: Any = measure_pairs(row, Scripted(100, 300, 200), Scripted(100, 100, 400), Limits(3, 60))  # type: ignore
    assert figures["decode"]["llmrt"] == [200, 600, 400]
    prefill = figures["prefill"]
    assert prefill["ratios"] == [1, 3, 0.5]
    assert (prefill["llmrt_median"], prefill["llama_cpp_median"], prefill["ratio_median"]) == (200, 100, 1)
    about = {**row.__dict__, "title": "Model", "llmrt_read_bytes": 1e8, "llama_cpp_read_bytes": 2e8}
    table = compare({**HEAD, "rows": {"key": {**about, **figures}}}).splitlines()
    assert table[-2] == "| Model | prefill of 512 tokens behind 8192 | 200 | 100 | **1.00** (0.50 to 3.00) |  |"
    assert table[-1] == "| Model | decode behind 8192 | 400 | 200 | **1.00** (0.50 to 3.00) |  |"
    shallow = compare({**HEAD, "rows": {"key": {**about, **figures, "depth": 0}}}).splitlines()
    assert shallow[-1] == "| Model | decode | 400 | 200 | **1.00** (0.50 to 3.00) | 40.0 : 40.0 |"


HEAD: dict[str, Any] = {
    "machine": {"processor": "Fast CPU"},
    "limits": {"read_bytes_per_second": 4e10, "int8_operations_per_second": 9e11},
    "settings": {"threads": 2, "quant": "int4", "type": "Q4_0", "kv": "f16"},
    "llmrt": {"version": "1", "commit": "abc"},
    "llama_cpp": {"version": "2"},
}


def test_a_skipped_row_is_left_out() -> None:
    skipped = {**ROWS[0].__dict__, "skipped": "no room"}
    assert "smollm2" not in compare({**HEAD, "rows": {"key": skipped}})


def test_quick_rows_are_rows() -> None:
    assert set(QUICK) < {row.key for row in ROWS}
    assert len({row.key for row in ROWS}) == len(ROWS)
