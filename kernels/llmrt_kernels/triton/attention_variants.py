"""The shipped forms of attention, with the tiles that the tables have for each kind of device."""

from __future__ import annotations

from typing import Any

from llmrt_kernels.triton.attention import MANY_ROWS, join_sizes
from llmrt_kernels.triton.attention_decode import decode_kernel
from llmrt_kernels.triton.attention_prefill import prefill_kernel
from llmrt_kernels.triton.attention_tuning import DECODE, PREFILL, tiles_of
from llmrt_kernels.triton.integers import next_power_of_2
from llmrt_kernels.triton.target import TARGETS, Target
from llmrt_kernels.triton.variant import Variant

HEADS, PAGE, GROUP = 4, 64, 64  # those of Mistral and Llama 3, the engine's default, the quantizer's

_BATCH = {"starts_ptr": "*i64", "lengths_ptr": "*i64", "kv_heads": "i32", "window": "i32"}
_READS = _BATCH | {"q_ptr": "*bf16", "table_ptr": "*i64", "table_width": "i32", "scale_log2": "fp32"}
_PREFILL = _READS | {"requests": "i32", "min_queries": "i32"}
_PARTS = {"parts_out_ptr": "*fp32", "parts_stats_ptr": "*fp32", "arrived_ptr": "*i32"}
_DECODE = _READS | _PARTS | {"splits": "i32", "max_queries": "i32"}
_PLAIN = {"k_ptr": "*bf16", "v_ptr": "*bf16"}
_HALF = {"q_ptr": "*fp16", "k_ptr": "*fp16", "v_ptr": "*fp16", "out_ptr": "*fp16"}
_INT8 = {"k_ptr": "*i8", "v_ptr": "*i8", "k_scales_ptr": "*fp32", "v_scales_ptr": "*fp32"}
_FP8 = _INT8 | {"k_ptr": "*u8", "v_ptr": "*u8"}
_TENSOR = {"out_ptr": "*bf16"}
_CAP, _SLOPES = {"bend": "fp32"}, {"slopes_ptr": "*fp32"}
_CODES = {"out_ptr": "*i8", "out_scales_ptr": "*fp32", "out_sums_ptr": "*i32"}


def _variant(name: str, kernel: Any, dim: int, signature: dict[str, str], rows: int = HEADS) -> Variant:
    padded = next_power_of_2(dim)
    sizes = {"HEADS": HEADS, "DIM": dim, "DIM_PADDED": padded, "PAGE": PAGE} | join_sizes(rows, padded)
    sizes["CODE_GROUP"] = GROUP if "out_sums_ptr" in signature else 0
    names = {parameter.name for parameter in kernel.params}

    def tuned(target: Target) -> dict[str, Any]:
        table = PREFILL if kernel is prefill_kernel else DECODE
        tiles = tiles_of(table, target, padded, itemsize=1 if "k_scales_ptr" in signature else 2)
        all_sizes = sizes | {"BLOCK_M": tiles.block_m, "BLOCK_N": tiles.block_n, "STAGES": tiles.stages}
        constants = {size: value for size, value in all_sizes.items() if size in names}
        return {"constants": constants, "num_warps": tiles.warps, "num_stages": tiles.stages}

    by_target = {target.name: tuned(target) for target in TARGETS}
    return Variant(f"attention-{name}", kernel, signature, **by_target["sm_80"], tuned=by_target)


VARIANTS = (
    _variant("prefill-d128", prefill_kernel, 128, _PREFILL | _PLAIN | _TENSOR),
    _variant("prefill-d128-int8-codes", prefill_kernel, 128, _PREFILL | _INT8 | _CODES),
    _variant("prefill-d96-fp8-slopes", prefill_kernel, 96, _PREFILL | _FP8 | _TENSOR | _SLOPES),
    _variant("prefill-d256-fp16-capped", prefill_kernel, 256, _PREFILL | _HALF | _CAP),
    _variant("decode-d128", decode_kernel, 128, _DECODE | _PLAIN | _TENSOR),
    _variant("decode-d128-int8-codes-beside_prompt", decode_kernel, 128, _DECODE | _INT8 | _CODES, MANY_ROWS),
    _variant("decode-d64-fp8-codes-slopes", decode_kernel, 64, _DECODE | _FP8 | _CODES | _SLOPES),
    _variant("decode-d256-fp16-capped", decode_kernel, 256, _DECODE | _HALF | _CAP),
)
