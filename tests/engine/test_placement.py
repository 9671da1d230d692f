"""Which device a model runs on, what it may use there, and what is said about it: the GPU is a pretended one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llmrt.config import EngineConfig
from llmrt.engine.hardware import gpus
from llmrt.engine.loading.load_model import settle
from llmrt.engine.planning.memory import (
    LIBRARY_BYTES,
    MemoryBudget,
    MemoryPlanner,
    budget_of,
    step_bytes,
    usable_memory,
)
from llmrt.engine.planning.placement import choose_device, free_memory
from llmrt.engine.planning.settle import settle_on
from llmrt.errors import ConfigError, MemoryFitError
from llmrt.model.checkpoints.headers import AssumedHeaders
from llmrt.model.config import ModelConfig
from llmrt_kernels.expansion import STRIP_BYTES

MODEL = ModelConfig(
    family="llama",
    vocab_size=32000,
    hidden_size=4096,
    num_layers=32,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    intermediate_size=14336,
    norm_eps=1e-5,
    context_length=32768,
)
WEIGHTS = 14_480_000_000
ON_GPU = EngineConfig(device="cuda", dtype="bf16", kv_dtype="bf16")


@dataclass
class Card:
    """What torch would say of a GPU."""

    capability: tuple[int, int] = (8, 6)
    free: int = 23_000_000_000
    total: int = 24_000_000_000
    count: int = 1
    current: int = 0


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    monkeypatch.setattr(gpus, "launcher_refusal", lambda: None)

    def set_device(index: int) -> None:
        card.current = index

    for name, fake in {
        "is_available": lambda: card.count > 0,
        "device_count": lambda: card.count,
        "current_device": lambda: card.current,
        "get_device_name": lambda index: f"Card {index}",
        "get_device_capability": lambda index=0: card.capability,
        "set_device": set_device,
        "mem_get_info": lambda: (card.free, card.total),
    }.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    return card


def test_auto_takes_the_gpu_and_says_so(card: Card) -> None:
    assert choose_device("auto") == ("cuda", ["Running on the GPU, Card 0."])
    assert choose_device("cuda") == ("cuda", [])
    assert choose_device("cpu") == ("cpu", [])


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(card: Card) -> None:
    card.count = 0
    assert choose_device("auto") == ("cpu", [])
    with pytest.raises(ConfigError, match=r"--device is cuda:1, but torch .* sees no GPU. Use cpu."):
        choose_device("cuda:1")


def test_one_of_several_is_made_the_current_one(card: Card) -> None:
    card.count = 2
    choose_device("cuda:1")
    assert card.current == 1
    assert choose_device("cuda")[0] == "cuda" and card.current == 1
    with pytest.raises(ConfigError, match=r"--device is cuda:2, but torch .* sees 2 GPUs, from cuda:0 on"):
        choose_device("cuda:2")


def test_a_card_that_is_too_old_is_left_alone_or_refused(card: Card) -> None:
    card.capability = (7, 5)
    device, notices = choose_device("auto")
    assert device == "cpu" and "Card 0, is not used: its compute capability is 7.5" in notices[0]
    with pytest.raises(ConfigError, match=r"Card 0 cannot be used: its compute capability is 7.5.*8.0 or later"):
        choose_device("cuda")


def test_without_triton_it_is_said(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="triton is not installed"):
        choose_device("cuda")


@pytest.mark.parametrize("asked", ["gpu", "cuda:x", "cuda:", "CPU", ""])
def test_other_names_are_refused(asked: str) -> None:
    with pytest.raises(ConfigError, match="it must be one of auto, cpu, cuda, cuda:N"):
        choose_device(asked)


def test_a_share_or_gigabytes_of_the_gpu() -> None:
    assert usable_memory(None, (10**10, 2 * 10**10)) == 9 * 10**9
    assert usable_memory(0.5, (10**10, 2 * 10**10)) == 5 * 10**9
    assert usable_memory(8, (10**10, 2 * 10**10)) == 8 * 10**9
    with pytest.raises(MemoryFitError, match=r"--gpu-memory is 12 GB; 10.0 GB of the GPU's 20.0 GB are free"):
        usable_memory(12, (10**10, 2 * 10**10))


def test_gpu_memory_on_the_cpu_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--gpu-memory is 0\.5, but the model runs on the cpu"):
        free_memory(EngineConfig(device="cpu", gpu_memory=0.5))


def test_all_that_weights_and_workspace_leave_of_the_gpu_is_for_the_cache(card: Card) -> None:
    config = replace(ON_GPU, max_num_seqs=64)
    budget = budget_of(MODEL, config, free_memory(config))
    assert budget.workspace == LIBRARY_BYTES + step_bytes(MODEL, config)
    plan = MemoryPlanner(MODEL, config, WEIGHTS, budget).plan()
    block_bytes = 64 * 2 * MODEL.kv_values_per_token()
    used = WEIGHTS + budget.workspace + plan.num_blocks * block_bytes
    assert used <= budget.available < used + block_bytes
    assert plan.context_length == 32768


def test_quant_auto_goes_by_the_memory_of_the_gpu(card: Card) -> None:
    config, notices = settle(AssumedHeaders(MODEL, "bf16"), EngineConfig(quant="auto"))
    assert (config.device, config.quant, config.dtype) == ("cuda", "int4", "bf16")
    assert notices[-1].startswith("quant auto: int4")


@pytest.mark.parametrize(("stored", "dtype"), [("fp16", "fp16"), ("bf16", "bf16"), ("fp32", "bf16")])
def test_a_gpu_computes_in_the_half_that_is_stored(stored: str, dtype: str, card: Card) -> None:
    config, _ = settle(AssumedHeaders(replace(MODEL, dtype=stored), stored), EngineConfig())
    assert (config.device, config.dtype) == ("cuda", dtype)


@pytest.mark.parametrize(("stored", "dtype"), [("fp16", "fp32"), ("bf16", "bf16"), ("fp32", "fp32")])
def test_a_processor_rounds_no_weights_of_a_large_model(
    stored: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmrt.engine.planning.settle.multiplies_bf16", lambda: True)
    config, _ = settle(AssumedHeaders(replace(MODEL, dtype=stored), stored), EngineConfig(device="cpu"))
    assert config.dtype == dtype


def test_what_does_not_fit_is_said_in_numbers_before_anything_is_loaded(card: Card) -> None:
    card.free = 12_000_000_000
    budget = budget_of(MODEL, ON_GPU, free_memory(ON_GPU))
    with pytest.raises(MemoryFitError, match=r"Not enough GPU memory: .* \(14.5 GB of weights.*10.8 GB are available"):
        MemoryPlanner(MODEL, ON_GPU, WEIGHTS, budget).plan()


def test_a_step_is_counted_by_its_widest_layer() -> None:
    """7B: the MLP's 3 x 14336 values of two bytes a token are more than half; some steps expand weights besides."""
    for tokens, strip in ((512, 0), (2048, STRIP_BYTES)):
        floats, int4, int4_on_cpu = (
            step_bytes(MODEL, replace(ON_GPU, quant=quant, device=device, max_num_batched_tokens=tokens))
            for quant, device in (("none", "cuda"), ("int4", "cuda"), ("int4", "cpu"))
        )
        assert 3 * 14336 * 2 * tokens < floats < 3 * 3 * 14336 * 2 * tokens
        assert int4 == floats + strip and int4_on_cpu == floats


def test_each_device_says_which_memory_it_has() -> None:
    assert budget_of(MODEL, ON_GPU, 1).where == "GPU memory"
    assert budget_of(MODEL, replace(ON_GPU, device="cpu"), 1).where == "memory"


@pytest.mark.parametrize(
    ("capability", "gigabytes", "settings", "tokens"),
    [
        ((9, 0), 70, {}, 2048),
        ((8, 0), 36, {}, 2048),
        ((9, 0), 20, {}, 512),
        ((9, 0), 70, {"max_num_batched_tokens": 100}, 100),
        ((9, 0), 70, {"device": "cpu"}, 512),
        ((8, 6), 44, {}, 512),  # A40: its products of many tokens are in int8, whose rate 512 reach
        ((8, 9), 44, {}, 512),
        ((12, 1), 110, {}, 512),
    ],
)
def test_steps_are_larger_on_large_gpus_that_expand_weights(
    capability: tuple[int, int], gigabytes: int, settings: dict[str, Any], tokens: int, card: Card
) -> None:
    card.capability, card.free, card.total = capability, gigabytes * 10**9, 128 * 10**9
    settled, _ = settle(AssumedHeaders(MODEL, "bf16"), EngineConfig(**settings))
    assert settled.step_tokens == tokens


@pytest.mark.parametrize(("arch", "tokens"), [("gfx942:sramecc+:xnack-", 2048), ("gfx1151", 512)])
def test_one_of_amds_is_known_by_its_name(arch: str, tokens: int, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    card.free, card.total = 70 * 10**9, 128 * 10**9
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: SimpleNamespace(gcnArchName=arch))
    assert settle(AssumedHeaders(MODEL, "bf16"), EngineConfig())[0].step_tokens == tokens


def test_quant_auto_counts_a_step_in_the_type_that_a_gpu_computes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []

    def watched(model: ModelConfig, config: EngineConfig, available: int) -> MemoryBudget:
        counted.append(config.dtype)
        return budget_of(model, config, available)

    monkeypatch.setattr("llmrt.engine.planning.settle.budget_of", watched)
    for device in ("cuda", "cpu"):
        settle_on(AssumedHeaders(MODEL, "bf16"), EngineConfig(device=device, quant="auto"), lambda: 10**10)
    assert counted == ["bf16", "fp32"]
