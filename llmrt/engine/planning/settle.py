"""What "auto" becomes: device and memory are known, and the rest of a configuration follows. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from llmrt.config import LARGE_STEP_TOKENS, STORED, EngineConfig
from llmrt.engine.hardware.processor import multiplies_bf16
from llmrt.engine.planning.auto_quant import choose_quant
from llmrt.engine.planning.memory import budget_of
from llmrt.errors import ConfigError
from llmrt.model.checkpoints.headers import Headers, PackedHeaders
from llmrt.model.checkpoints.kept import stored_group
from llmrt.model.checkpoints.safetensors.headers import SafetensorsHeaders
from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.model.checkpoints.weight_bytes import quantized_bytes, read_by_a_token, tensor_bytes, total
from llmrt.model.config import ModelConfig
from llmrt.model.quantized.described_headers import rounding_notice
from llmrt.ops.rules import Case, byte_cache_refusal, native_refusal
from llmrt.quant.recipe import RECIPES, Recipe
from llmrt_kernels.expansion import EXPANDED_FROM

SMALL_MODEL = 500_000_000
LARGE_GPU = 30_000_000_000  # bytes for a model
FLOATS = ("fp32", "bf16", "fp16")
KV_DTYPES = (*FLOATS, "int8", "fp8")


def settle_on(
    model: Headers | PackedHeaders, config: EngineConfig, available: Callable[[], int], arch: str | None = None
) -> tuple[EngineConfig, list[str]]:
    """``config``, whose device is chosen, with quant, types and tokens of a step as they will be used, and what to say.

    ``available`` tells the bytes of memory there, ``arch`` is the GPU's: "sm_90". Raises ``ConfigError`` for a setting
    that cannot work.
    """
    notices: list[str] = []
    if config.max_num_batched_tokens is None and arch in EXPANDED_FROM and available() >= LARGE_GPU:
        config = replace(config, max_num_batched_tokens=LARGE_STEP_TOKENS)
    if isinstance(model, PackedHeaders):
        config = replace(config, quant=_quant_of_packed(model, config))
    elif config.quant in ("auto", STORED) and stored_group(model.inventory):
        if config.calibration is not None:
            raise ConfigError(f"{model.path} is quantized already; --calibrate goes with --quant int8 or int4.")
        config, notices = replace(config, quant=STORED), list(_rounding(model))
    elif config.quant == STORED:
        config = replace(config, quant="none")
    elif config.quant == "auto":
        dtype = "fp32" if config.device == "cpu" else _choose(config.dtype, "--dtype", "bf16")
        budget = budget_of(model.config, replace(config, dtype=dtype), available())
        quant, reason = choose_quant(model.config, budget)
        config, notices = replace(config, quant=quant), [reason]
    _check_quant(config.quant)
    dtype, kv_dtype = _resolve_dtypes(model, config)
    return replace(config, dtype=dtype, kv_dtype=kv_dtype), notices


def _rounding(model: Headers) -> Iterator[str]:
    """What to say of quantized weights that are not kept as they are stored."""
    if isinstance(model, SafetensorsHeaders):
        notice = rounding_notice(matrix.layout for matrix in model.matrices.values())
        if notice is not None:
            yield notice


def loaded_bytes(model: Headers | PackedHeaders, config: EngineConfig) -> int:
    """Bytes of the weights in memory under a settled configuration."""
    if isinstance(model, PackedHeaders):
        return model.num_bytes
    return total(tensor_bytes(model, case_of(model, config), recipe_of(config)))


def bytes_of_a_token(model: Headers | PackedHeaders, config: EngineConfig) -> int:
    """Bytes of weights that decoding one token reads, under a settled configuration."""
    recipe = recipe_of(config)
    if isinstance(model, PackedHeaders):
        assert recipe is not None
        return read_by_a_token(model.config, quantized_bytes(model.config, recipe))
    return read_by_a_token(model.config, tensor_bytes(model, case_of(model, config), recipe))


def recipe_of(config: EngineConfig) -> Recipe | None:
    """How a settled configuration quantizes anew, None for not at all."""
    return RECIPES.get(config.quant)


def case_of(model: Headers | PackedHeaders, config: EngineConfig) -> Case:
    """What decides which kernels run a model under a settled configuration.

    Weights that are not quantized go in blocks where the native kernels serve the model.
    """
    shape, group = model.config, _group(model, config)
    case = Case(config.device, config.dtype, group=group, granule=shape.granule_on(config.device))
    return case if group or native_refusal(case) else replace(case, in_blocks=True)


def _group(model: Headers | PackedHeaders, config: EngineConfig) -> int:
    """Columns of the weights that share a scale, 0 for floats."""
    if config.quant == STORED:
        assert not isinstance(model, PackedHeaders)
        return stored_group(model.inventory)
    recipe = recipe_of(config)
    return recipe.group if recipe else 0


def _quant_of_packed(model: PackedHeaders, config: EngineConfig) -> str:
    held, asked = model.header.quant, config.quant
    if config.calibration is not None:
        raise ConfigError(f"{model.path} is packed and rounded already; leave --calibrate out.")
    if asked not in ("none", "auto", STORED, held):
        raise ConfigError(f"--quant is {asked}, but {model.path} is packed as {held} already; leave --quant out.")
    return held


def _check_quant(quant: str) -> None:
    if quant not in ("none", STORED, *RECIPES):
        raise ConfigError(f"--quant is {quant!r}; it must be one of {STORED}, none, {', '.join(RECIPES)}, auto.")


def _resolve_dtypes(model: Headers | PackedHeaders, config: EngineConfig) -> tuple[str, str]:
    _choose(config.dtype, "--dtype", "auto")  # refuses what is no type at all
    if config.quant == "none":
        dtype = _choose(config.dtype, "--dtype", _natural_dtype(model.config, config.device))
        return dtype, _choose(config.kv_dtype, "--kv-dtype", dtype, KV_DTYPES)
    if config.device == "cpu" and config.dtype not in ("auto", "fp32"):
        raise ConfigError(
            f"--dtype {config.dtype} does not go with --quant {config.quant} on the cpu: activations are fp32 there."
            " Use --quant none, or leave --dtype out."
        )
    dtype, half = ("fp32", "fp16") if config.device == "cpu" else (_choose(config.dtype, "--dtype", "bf16"), "bf16")
    case = case_of(model, replace(config, dtype=dtype))
    int8_serves = config.quant == "int4" and byte_cache_refusal(case, "int8", config.block_size) is None
    return dtype, _choose(config.kv_dtype, "--kv-dtype", "int8" if int8_serves else half, KV_DTYPES)


def _choose(value: str, flag: str, natural: str, known: Iterable[str] = FLOATS) -> str:
    if value == "auto":
        return natural
    if value not in known:
        raise ConfigError(f"{flag} is {value!r}; it must be one of auto, {', '.join(known)}.")
    return value


def _natural_dtype(model: ModelConfig, device: str) -> str:
    """The type that the weights are stored in, for another would round them; on a GPU bf16 for those in fp32.

    A processor computes in fp32, where small models lose little by it. Only bf16 has products of its own there, on
    some processors; elsewhere they are emulated, several times slower.
    """
    if device != "cpu":
        return "fp16" if model.dtype == "fp16" else "bf16"
    products = num_parameters(model) >= SMALL_MODEL and multiplies_bf16()
    return "bf16" if model.dtype == "bf16" and products else "fp32"
