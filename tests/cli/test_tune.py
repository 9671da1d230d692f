"""``llmrt tune`` where there is no GPU, and the way from a model to a file where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from llmrt.engine.loading import load_model, tuned_file
from llmrt.engine.loading.tuned_file import Origin, read_tuned
from tests.cli.conftest import CommandLine


def test_on_a_cpu_there_is_nothing_to_measure(llmrt: CommandLine, tiny: Path) -> None:
    status, out, err = llmrt("tune", str(tiny), "--device", "cpu")
    assert (status, out) == (1, "")
    assert "llmrt tune measures a GPU's kernels, and this would run on the cpu; see `llmrt doctor`." in err


def test_what_is_the_fastest_is_kept(
    llmrt: CommandLine, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a GPU that is one by name, work that is none, and scripted measurements."""
    pytest.importorskip("triton", reason="there is no Triton but for Linux")
    from llmrt.engine.loading import tuned_kernels
    from llmrt_kernels.triton import tuning
    from llmrt_kernels.triton.tuning_work import Shape

    shapes: list[Shape] = []

    def works_of(shape: Shape, device: torch.device) -> dict[str, tuning.Work]:
        shapes.append(shape)
        return dict.fromkeys(("attention-decode-d32-2", "product-64"), lambda: device)

    here = Origin("A GPU", "3.6.0", "0123")
    monkeypatch.setattr(load_model, "choose_device", lambda asked: ("cuda", []))
    monkeypatch.setattr(load_model, "arch_of", lambda device: "sm_90")
    monkeypatch.setattr(load_model, "free_memory", lambda config: 1 << 30)
    monkeypatch.setattr(tuned_kernels, "origin_here", lambda: here)
    monkeypatch.setattr(tuned_kernels, "works_of", works_of)
    monkeypatch.setattr(tuned_kernels, "measure", lambda name, work: {name: tuning.candidates(name)[0]})
    monkeypatch.setattr(tuned_file.platformdirs, "user_cache_path", lambda app: tmp_path / app)
    status, out, err = llmrt("tune", str(tiny), "--quant", "none", "--kv-dtype", "fp16")
    assert status == 0, err
    assert "product-64: 64 64 0 4 2" in out
    tiles, notice = read_tuned(here, tuning.candidates)
    assert notice is None
    assert {*tiles} == {"attention-decode-d32-2", "product-64"}
    (shape,) = shapes
    assert (shape.heads, shape.kv_heads, shape.head_dim, shape.group) == (4, 2, 12, 0)
    assert (shape.kv_dtype, shape.matrices[0]) == (torch.float16, ((4 + 2 * 2) * 12, 48))
