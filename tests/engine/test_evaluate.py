"""Perplexity, divergence and agreement are those that torch computes from transformers' logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from llmrt.config import EngineConfig
from llmrt.engine.conversion import evaluate as evaluation
from llmrt.engine.conversion.evaluate import Evaluation, evaluate, windows_of
from llmrt.engine.loading.load_model import open_model, settle
from llmrt.errors import ConfigError, MemoryFitError
from tests.engines import open_engine, score
from tests.tiny import make_model, save_model

SHAPE = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 32, "num_attention_heads": 2}
WINDOWS = windows_of(torch.randint(3, 128, (450,), generator=torch.Generator().manual_seed(0)).tolist(), 200, [1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(make_model("llama", **SHAPE), tmp_path_factory.mktemp("llama"))


def compared(folder: Path, **settings: str) -> Evaluation:
    return evaluate(open_model(folder), open_model(folder), EngineConfig(dtype="fp32", **settings), WINDOWS)


def test_windows_hold_the_whole_text_once() -> None:
    assert [len(window) for window in WINDOWS] == [200, 200, 53]
    assert all(window[0] == 1 for window in WINDOWS)
    with pytest.raises(ConfigError, match="less than two tokens"):
        windows_of([7], 16, [])


def test_perplexity_of_the_source_is_that_of_transformers(folder: Path) -> None:
    model = make_model("llama", **SHAPE)
    with torch.no_grad():
        loss = [F.cross_entropy(model(torch.tensor([w])).logits[0, :-1], torch.tensor(w[1:])) for w in WINDOWS]
    tokens = [len(window) - 1 for window in WINDOWS]
    mean = sum(value.item() * count for value, count in zip(loss, tokens, strict=True)) / sum(tokens)
    assert compared(folder, quant="int8").full_perplexity == pytest.approx(torch.tensor(mean).exp().item(), rel=1e-4)


@pytest.mark.parametrize("quant", ["int8", "int4"])
def test_divergence_is_that_of_both_models_logits(folder: Path, quant: str) -> None:
    model = make_model("llama", **SHAPE)
    engine = open_engine(folder, quant=quant)
    kl, nll, same = [], [], []
    for window in WINDOWS:
        with torch.no_grad():
            p = model(torch.tensor([window])).logits[0, :-1].double().log_softmax(1)
        q = score(engine, window)[:-1].double().log_softmax(1)
        kl.append(F.kl_div(q, p, log_target=True, reduction="none").sum(1))
        nll.append(F.nll_loss(q, torch.tensor(window[1:]), reduction="none"))
        same.append(p.argmax(1) == q.argmax(1))
    result = compared(folder, quant=quant)
    assert result.num_predictions == sum(map(len, WINDOWS)) - len(WINDOWS)
    assert result.kl_mean == pytest.approx(torch.cat(kl).mean().item(), rel=1e-2)
    assert result.kl_p99 == pytest.approx(torch.cat(kl).quantile(0.99).item(), rel=0.1)
    assert result.perplexity == pytest.approx(torch.cat(nll).mean().exp().item(), rel=1e-3)
    assert result.top1_agreement == pytest.approx(torch.cat(same).double().mean().item(), abs=0.01)


def test_bits_are_codes_and_scales(folder: Path) -> None:
    bits = compared(folder, quant="int4").bits
    assert 4.25 < bits.layers < 8.25
    assert bits.head == 8.25
    assert compared(folder, quant="int8").bits.layers == 8.5
    full = compared(folder, kv_dtype="fp16")
    assert (full.bits.layers, full.bits.overall) == (32, 32)
    assert 0 < full.kl_mean < 1e-3


def test_two_models_that_do_not_fit_together_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = open_model(folder)
    workspace = evaluation._workspace(
        model, *(settle(model, EngineConfig(device="cpu", quant=q))[0] for q in ("none", "int4"))
    )
    monkeypatch.setattr(evaluation, "available_memory", lambda: workspace)
    with pytest.raises(MemoryFitError, match=r"Not enough memory to compare.*--dtype bf16"):
        compared(folder, quant="int4")
