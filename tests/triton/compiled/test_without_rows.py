"""Kernels that have no row in docs/kernels.md, compiled for every target too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.kernel_table.build import build
from benchmarks.kernel_table.reports import BY_NAME, VARIANTS
from benchmarks.kernel_table.resources import SHARED_MEMORY, resources_of
from llmrt_kernels.triton import embedding_packed
from llmrt_kernels.triton.activated_rows import activated_rows_kernel
from llmrt_kernels.triton.codes import TILE, Y_CODES
from llmrt_kernels.triton.dense_rotary_linear import dense_rotary_kernel
from llmrt_kernels.triton.expand import expand_codes_kernel
from llmrt_kernels.triton.rope_kv_write import FP8
from llmrt_kernels.triton.tiles import DENSE_ROWS
from llmrt_kernels.triton.variant import Variant

SIZE, GROUP = 14336, 64
MATRIX = {"data_ptr": "*u8", "scales_ptr": "*fp16", "offsets_ptr": "*fp16"}
ROTATION = {
    **{"positions_ptr": "*i64", "cos_sin_ptr": "*fp32", "slots_ptr": "*i64"},
    **{"k_ptr": "*bf16", "v_ptr": "*bf16", "q_ptr": "*bf16"},
}


def rotary_of_floats() -> Variant:
    """With what an adapter adds, and columns that are cut."""
    gated = VARIANTS["gated_linear-bf16-4_tokens"]
    pointers = {name: kind for name, kind in gated.signature.items() if name != "y_ptr"} | ROTATION
    sizes = {name: gated.constants[name] for name in ("TOKENS", "COLUMNS")}
    sizes |= {"K": 3584, "H": 28, "KVH": 4, "D": 128, "PAGE": 64, "PAIRS": DENSE_ROWS // 2}
    form = replace(gated, name="rotary_linear-bf16-4_tokens", kernel=dense_rotary_kernel)
    return replace(form, signature=pointers, constants=sizes)


def of_two_tokens() -> Variant:
    """A packed head, which has 512 threads on sm_90 for so many."""
    form = VARIANTS["rotary_linear-int4-int8-1_token-fp8-norm-offsets"]
    tuned = {name: fields | {"constants": fields["constants"] | {"TOKENS": 2}} for name, fields in form.tuned.items()}
    return replace(form, name="rotary_linear-int4-int8-2_tokens", tuned=tuned)


def rope_into_fp8() -> Variant:
    """Behind products of floats."""
    form = VARIANTS["rope_kv_write-bf16-int8-norm"]
    return replace(form, name="rope_kv_write-bf16-fp8", signature={**form.signature, **FP8})


FORMS = (
    of_two_tokens(),
    rope_into_fp8(),
    Variant(
        "embedding-int4-offsets",
        embedding_packed.embedding_packed_kernel,
        {"token_ids_ptr": "*i64", **MATRIX, "out_ptr": "*bf16"},
        {"SIZE": 4096, "GROUPS": 4096 // GROUP, "GROUP": GROUP, "BITS": 4, "BLOCK": embedding_packed.BLOCK},
    ),
    Variant(
        "expand_codes",
        expand_codes_kernel,
        {"x_ptr": "*i8", "x_scales_ptr": "*fp32", "out_ptr": "*bf16"},
        {"GROUPS": SIZE // GROUP, "GROUP": GROUP, "SPAN": TILE // GROUP},
    ),
    Variant(
        "activated_rows-bf16",
        activated_rows_kernel,
        {"x_ptr": "*bf16", "bias_ptr": "*fp32", "delta_ptr": "*bf16", **Y_CODES},
        {"SIZE": SIZE, "GROUPS": TILE // GROUP, "GROUP": GROUP, "NAME": "silu", "GATED": True},
    ),
    rotary_of_floats(),
)


@pytest.mark.parametrize("target", BY_NAME)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_it_fits(form: Variant, target: str) -> None:
    resources = resources_of(build(form.on(target), BY_NAME[target]))
    assert resources.spilled == 0
    assert resources.shared <= SHARED_MEMORY[target]
