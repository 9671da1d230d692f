"""Whole tiny models on the Triton kernels and the GPU's runner, beside transformers and beside the CPU's kernels.

In the interpreter the device is a scripted one; on a GPU decode steps are graphs, equal to single launches bit for bit.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from triton.runtime.interpreter import GridExecutor

from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading import build, build_speculation
from llmrt.engine.request import Adapter, Request, RequestOutput, SamplingParams
from llmrt.engine.runners.batch_builder import lay_out
from llmrt.model.adapters.install import install_adapter
from llmrt.model.adapters.peft_adapter import PeftAdapter
from llmrt.model.checkpoints.checkpoint import open_checkpoint
from llmrt.model.kv_cache import KVCache
from llmrt.model.loading.load import load_decoder
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.rules import native_library
from llmrt.ops.types import OpSpec
from llmrt.quant.recipe import RECIPES
from tests.engines import open_engine, run, tokens
from tests.scripted import verify_all_guesses
from tests.scripted_device import ScriptedDevice
from tests.tiny import make_model, save_model

# A layer is seconds in the interpreter.
SHAPE = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 96}
SHAPE |= {"num_attention_heads": 2, "num_key_value_heads": 1}
TWO_LAYERS = {"num_hidden_layers": 2}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
FAMILIES = {
    "llama": ("llama", SHAPE),
    "mistral": ("mistral", {**SHAPE, **TWO_LAYERS, "sliding_window": 16}),
    "mixtral": ("mixtral", {**SHAPE, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
}
# What these have and those do not: caps, partly rotated heads, norms and so on.
OPTIONS = {
    "gemma2": ("gemma2", {**SHAPE, **TWO_LAYERS, "head_dim": 32, "sliding_window": 16, "final_logit_softcapping": 3.0}),
    "gpt_neox": ("gpt_neox", {**SHAPE, "rope_parameters": {"partial_rotary_factor": 0.5, **ROPE}}),
    "phi": ("phi", {**SHAPE, "rope_parameters": {"partial_rotary_factor": 0.5, **ROPE}}),
    "olmo2": ("olmo2", SHAPE),
    "gemma3": ("gemma3_text", {**SHAPE, "head_dim": 32}),
    "granite": ("granite", {**SHAPE, "residual_multiplier": 0.5}),
    "cohere": ("cohere", {**SHAPE, "use_qk_norm": True}),
    "qwen2_moe": ("qwen2_moe", {**SHAPE, **EXPERTS, "shared_expert_intermediate_size": 48}),
    "qwen3": ("qwen3", {**SHAPE, "head_dim": 32}),
}
PROMPTS = [[7, 99, 3, 45, 21, 64, 88, 12, 30, 5, 71, 18, 93, 40, 56, 2, 77, 31, 9, 60, 84], [5], [17, 4, 90]]
NEW_TOKENS = 4


each_family = pytest.mark.parametrize("family", FAMILIES)


def saved(family: str, folder: Path) -> Path:
    kind, fields = (FAMILIES | OPTIONS)[family]
    return save_model(make_model(kind, **fields), folder)


def open_on(device: str, folder: Path, **settings: Any) -> LLMEngine:
    """An engine with the GPU's runner and Triton's kernels."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMRT_KERNELS", "triton")
        if device == "cpu":
            patch.setattr(build, "_step_device", lambda *_: ScriptedDevice(random.Random(0)))
        return open_engine(folder, device=device, context_length=64, max_num_seqs=4, **settings)


def answers(engine: LLMEngine, params: SamplingParams) -> list[list[RequestOutput]]:
    for i, prompt in enumerate(PROMPTS):
        engine.add(str(i), prompt, params)
    outputs = run(engine)
    return [outputs[str(i)] for i in range(len(PROMPTS))]


def test_greedy_answers_equal_those_of_transformers(device: str, tmp_path: Path) -> None:
    engine = open_on(device, saved("mistral", tmp_path))
    model = make_model("mistral", **FAMILIES["mistral"][1])
    got = answers(engine, SamplingParams(temperature=0, max_tokens=NEW_TOKENS))
    for prompt, outputs in zip(PROMPTS, got, strict=True):
        with torch.inference_mode():
            ids = torch.tensor([prompt])
            expected = model.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None)
        assert tokens(outputs) == expected[0, len(prompt) :].tolist()


@pytest.mark.parametrize("family", [*FAMILIES, "gemma2", "phi", "qwen2_moe", "qwen3"])
def test_log_probabilities_are_those_of_transformers(family: str, device: str, tmp_path: Path) -> None:
    engine = open_on(device, saved(family, tmp_path))
    kind, fields = (FAMILIES | OPTIONS)[family]
    model = make_model(kind, **fields)
    got = answers(engine, SamplingParams(temperature=0, max_tokens=2, logprobs=5))
    # Matrix units of GPUs take fp32 numbers with 10 bits.
    tolerance = 1e-4 if device == "cpu" else 0.03
    for prompt, outputs in zip(PROMPTS, got, strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *tokens(outputs)]])).logits[0].float().log_softmax(-1)
        for i, output in enumerate(outputs):
            assert output.logprobs is not None
            for token, logprob in output.logprobs[0].top:
                assert logprob == pytest.approx(logits[len(prompt) - 1 + i, token].item(), abs=tolerance)


@pytest.mark.parametrize(
    ("family", "quant", "kv"),
    [
        ("mixtral", "int4", torch.float32),
        ("llama", "int4", torch.int8),
        ("mistral", "int4", torch.float8_e4m3fn),
        ("gemma2", "int4", torch.float32),
        ("gpt_neox", "int8", torch.float32),
        ("phi", "int4", torch.float32),
        ("qwen2_moe", "int8", torch.float32),
        ("qwen3", "int4", torch.float32),
        ("olmo2", "int8", torch.float32),
        ("cohere", "int8", torch.float32),
    ],
)
def test_packed_weights_give_what_the_cpu_makes_of_them(
    family: str, quant: str, kv: torch.dtype, device: str, tmp_path: Path
) -> None:
    errors = errors_beside_the_cpu(family, quant, kv, torch.float32, device, tmp_path)
    if native_library() is not None and kv == torch.float32:
        assert errors.max() < 1e-5
    else:
        # One side rounds what the other does not, which where two experts are almost alike may choose the other one.
        assert errors.median() < (0.1 if kv == torch.float8_e4m3fn else 0.05)


@pytest.mark.usefixtures("expanded")
@pytest.mark.parametrize("family", ["mistral", "gemma3"])
def test_a_prompt_long_enough_to_expand_weights_differs_by_rounding(family: str, device: str, tmp_path: Path) -> None:
    errors = errors_beside_the_cpu(family, "int4", torch.int8, torch.bfloat16, device, tmp_path)
    assert errors.median() < 0.05


@pytest.mark.usefixtures("expanded")
@pytest.mark.parametrize("family", ["llama", "gemma3", "olmo2", "granite", "phi"])
def test_all_products_of_many_tokens_are_expanded_but_the_heads(
    family: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = launches(device, monkeypatch)
    spec = OpSpec(device, torch.bfloat16, group=64)
    decoder = load_decoder(open_checkpoint(saved(family, tmp_path)), 64, spec, recipe=RECIPES["int4"])
    names.clear()
    logits_of(decoder, PROMPTS[0][:8], torch.bfloat16, torch.device(device))
    assert names.count("expand_codes_kernel") == 4
    assert names.count("linear_mma_kernel") == 1, names


def errors_beside_the_cpu(
    family: str, quant: str, kv: torch.dtype, dtype: torch.dtype, device: str, folder: Path
) -> torch.Tensor:
    """Of logits in ``dtype`` and with a cache of ``kv``, as shares of what the CPU makes of the same codes in fp32."""
    checkpoint, recipe = open_checkpoint(saved(family, folder)), RECIPES[quant]
    spec = OpSpec(device, dtype, group=recipe.group)
    decoder = load_decoder(checkpoint, 64, spec, recipe=recipe)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TRITON_INTERPRET", raising=False)  # without which Triton does not serve a CPU
        other = load_decoder(checkpoint, 64, OpSpec("cpu", torch.float32, group=recipe.group), recipe=recipe)
    got = logits_of(decoder, PROMPTS[0][:7], kv, torch.device(device))
    expected = logits_of(other, PROMPTS[0][:7], torch.float32, torch.device("cpu"))
    return (got.cpu() - expected).norm(dim=1) / expected.norm(dim=1)


def test_packed_weights_take_adapters(device: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")  # which a machine that only measures may lack
    from tests.adapters import make_adapter

    folder, recipe = saved("llama", tmp_path / "model"), RECIPES["int4"]
    model = make_model("llama", **SHAPE)
    targets = ["q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    adapter = PeftAdapter(make_adapter(model, tmp_path / "a", target_modules=targets))
    spec = OpSpec(device, torch.float32, group=recipe.group)
    decoder = load_decoder(open_checkpoint(folder), 64, spec, recipe=recipe)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TRITON_INTERPRET", raising=False)
        other = load_decoder(open_checkpoint(folder), 64, replace(spec, device="cpu"), recipe=recipe)
        install_adapter(other, 0, adapter)
    install_adapter(decoder, 0, adapter)
    ids, who, cpu = PROMPTS[0][:7], Adapter("a", 0, b""), torch.device("cpu")
    got = logits_of(decoder, ids, torch.float32, torch.device(device), who).cpu()
    expected, plain = (logits_of(other, ids, torch.float32, cpu, each) for each in (who, None))
    errors = (got - expected).norm(dim=1) / expected.norm(dim=1)
    assert errors.max() < (1e-5 if native_library() is not None else 0.1)
    assert (expected - plain).norm() > 0.1 * plain.norm()


@pytest.mark.parametrize("quant", ["none", "int4"])
def test_a_layer_is_seven_launches_for_a_token(
    quant: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's operations among them, each of which would be one."""
    names = launches(device, monkeypatch)
    recipe = RECIPES.get(quant)
    spec = OpSpec(device, torch.float32, group=0 if recipe is None else recipe.group)
    folder = save_model(make_model("llama", **(SHAPE | TWO_LAYERS), head_dim=64), tmp_path)
    decoder = load_decoder(open_checkpoint(folder), 64, spec, recipe=recipe)
    kv = KVCache.allocate(decoder.config, 4, 16, torch.float32, torch.device(device))
    request = Request("decoded", PROMPTS[1], SamplingParams())
    request.block_table = array("q", [3])
    layers = decoder.streams(lay_out({request: 1}, 16).batch(torch.device(device)), kv)
    with torch.inference_mode(), Operations(names):
        next(layers)
        names.clear()
        next(layers)
    assert len(names) == 7, names


def launches(device: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of kernels, as they are launched from now on."""
    if device == "cuda":
        pytest.skip("launches are counted in the interpreter")
    names = list[str]()

    def launch(self: GridExecutor, *args: Any, run: Any = GridExecutor.__call__, **kwargs: Any) -> None:
        names.append(self.fn.__name__)
        run(self, *args, **kwargs)

    monkeypatch.setattr(GridExecutor, "__call__", launch)
    return names


class Operations(TorchDispatchMode):
    """Adds to ``names`` those of torch's operations that compute something."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self._names = names

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not (func.is_view or "empty" in str(func)):
            self._names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_draft_model_changes_no_token(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verify_all_guesses(monkeypatch)
    monkeypatch.setattr(build_speculation, "_check_vocabulary", lambda target, draft: None)  # they have no text
    folder = saved("llama", tmp_path)
    guessing = open_on(device, folder, speculate="auto", draft_model=str(folder))
    params = SamplingParams(temperature=0, max_tokens=NEW_TOKENS)
    expected = answers(open_on(device, folder), params)
    assert list(map(tokens, answers(guessing, params))) == list(map(tokens, expected))
    assert guessing.stats.num_accepted_tokens > 0


def logits_of(
    decoder: Decoder,
    token_ids: Sequence[int],
    kv_dtype: torch.dtype,
    device: torch.device,
    adapter: Adapter | None = None,
) -> torch.Tensor:
    """Of every position, [T, V] fp32: all but the last two in one step, then those one by one."""
    kv = KVCache.allocate(decoder.config, 4, 16, kv_dtype, device)
    request = Request("scored", list(token_ids), SamplingParams(), adapter=adapter)
    request.block_table = array("q", [3])
    rows: list[torch.Tensor] = []
    with torch.inference_mode():
        for count in (len(token_ids) - 2, 1, 1):
            batch = replace(lay_out({request: count}, 16).batch(device), logits_index=None)
            rows.append(decoder(batch, kv).float())
            request.num_computed_tokens += count
    return torch.cat(rows)


@each_family
def test_graphs_equal_single_launches_bit_for_bit(family: str, device: str, tmp_path: Path) -> None:
    if device == "cpu":
        pytest.skip("there are no graphs in the interpreter")
    folder = saved(family, tmp_path)
    for params in (
        SamplingParams(temperature=0, max_tokens=20, logprobs=5),
        SamplingParams(temperature=0.8, top_p=0.9, top_k=50, seed=1, max_tokens=20),
    ):
        made = [answers(open_on(device, folder, dtype="bf16", graphs=graphs), params) for graphs in (True, False)]
        assert made[0] == made[1]
