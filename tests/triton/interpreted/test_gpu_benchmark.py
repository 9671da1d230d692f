"""The GPU's benchmark of single kernels, and its comparison of graphs, on a pretended GPU with tiny shapes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import triton.testing

from benchmarks.kernels import bench_triton_attention, bench_triton_linear
from benchmarks.on_gpu import bars, batches, graph_seconds, graphs, limits, models
from tests.benchmarks.parts import run_part
from tests.benchmarks.tiny_figures import TINY, tiny_figures
from tests.pretended_cuda import pretended_cuda
from tests.triton.interpreted.conftest import DEVICE

pytestmark = pytest.mark.skipif(DEVICE == "cuda", reason="a real one is not to be pretended")

FIGURES: dict[Any, dict[str, Any]] = {
    bars: {"FEW": 1, "SOME": 5, "MANY": 6, "PROMPTS": (8, 20), "DEEP": 40},
    bench_triton_linear: {
        "SHAPES": {"7B down": (16, 64), "7B gate_up": (128, 64)},
        "SCHEMES": ((4, 64),),
        "TOKENS": (1, 5, 6),
        "BOTH_WAYS": 6,
        "MOE_TOKENS": (1, 9),
        "MIXTRAL": (2, 1, 64, 64),
    },
    bench_triton_attention: {
        **{"HEADS": 2, "KV_HEADS": 1, "DIM": 64, "PAGE": 16, "ARENA_TOKENS": 128},
        **{"PROMPTS": (8, 20), "DECODE": ((1, 40), (2, 20))},
    },
    limits: {"COPY_BYTES": 1 << 10, "SIZE": 8},
    graph_seconds: {"RUNS": 1},
    batches: {"REQUESTS": 2, "PROMPT": 5, "TOKENS": 3},
    models: {"STREAMS": (1, 2), "CHUNK": 16},
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_figures(FIGURES, monkeypatch)
    monkeypatch.setattr(triton.testing, "do_bench", one_millisecond)


def test_every_section_runs_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run_part("kernels", tmp_path / "gpu.json", monkeypatch, pretended_cuda)
    # On the CPU torch has no product with weights in that form.
    assert {bar["bar"] for bar in report["bars"] if bar["figure"] is None} == {"int4, 1 token: times torch's int4"}
    assert len(report["bars"]) == 10
    printed = capsys.readouterr().out
    assert all(bar["bar"] in printed for bar in report["bars"])


def test_graphs_are_compared_with_single_launches() -> None:
    """In the second round of steps graphs are replayed; in the second comparison they are others than in the first."""
    with pretended_cuda():
        for _ in range(2):
            assert dict(graphs.measured(TINY, "none")) == {"same": True, "tokens": 6}
    models._held.clear()


def one_millisecond(
    work: Callable[[], object], *args: Any, do_bench: Any = triton.testing.do_bench, **kwargs: Any
) -> float:
    inspect.signature(do_bench).bind(work, *args, **kwargs)
    work()
    return 1.0
