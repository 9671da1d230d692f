"""Every shipped form of every kernel, compiled for every target, fits the device and keeps its registers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace

import pytest

from benchmarks.kernel_table.build import build
from benchmarks.kernel_table.reports import BY_NAME, VARIANTS, Pair, Report, shipped, start
from benchmarks.kernel_table.resources import SHARED_MEMORY, resources_of
from benchmarks.kernel_table.table import PAGE, page
from llmrt_kernels.triton.attention import join_sizes
from llmrt_kernels.triton.attention_tuning import TABLES, decode_rows, tiles_of, with_room
from llmrt_kernels.triton.routing import columns_at_once
from llmrt_kernels.triton.variants import shipped_variants


@pytest.fixture(scope="module")
def reports() -> Iterator[dict[Pair, Future[Report]]]:
    pool, futures = start(shipped())
    yield futures
    pool.shutdown(cancel_futures=True)


def test_there_are_at_most_40_and_names_are_unique() -> None:
    """Options in pairs, and not all that can be combined: see docs/kernels.md."""
    assert len(VARIANTS) == len(shipped_variants()) <= 40


@pytest.mark.parametrize("pair", shipped(), ids="-".join)
def test_it_fits(pair: Pair, reports: dict[Pair, Future[Report]]) -> None:
    resources = reports[pair].result().resources
    assert resources.spilled == 0
    assert resources.shared <= SHARED_MEMORY[pair[1]]


def test_the_page_is_up_to_date(reports: dict[Pair, Future[Report]]) -> None:
    fresh = page({pair: future.result() for pair, future in reports.items()})
    assert PAGE.read_text() == fresh, "run `python -m benchmarks.kernel_table`"


def test_what_parts_of_two_widths_add_stays_in_registers() -> None:
    """33 to 64 tokens: the largest tile, split along the columns, with nothing added yet."""
    shipped_form = VARIANTS["linear-int4-int8-many_tokens"].on("sm_90")
    signature = {
        name: kind for name, kind in shipped_form.signature.items() if name not in ("bias_ptr", "residual_ptr")
    }
    parts = replace(
        shipped_form,
        signature=signature | {"y_ptr": "*fp32"},
        constants=shipped_form.constants | {"SPLIT": True},
        tuned={},
    )
    assert resources_of(build(parts, BY_NAME["sm_90"])).spilled == 0


@pytest.mark.parametrize("experts", [64, 128])
def test_a_router_of_many_experts_stays_in_registers(experts: int) -> None:
    shipped_form = VARIANTS["route_codes-8_experts"]
    sizes = {"E": experts, "EXPERTS": experts, "CHOICES": 8, "COLUMNS": columns_at_once(experts)}
    many = replace(shipped_form, constants={**shipped_form.constants, **sizes})
    assert resources_of(build(many, BY_NAME["sm_90"])).spilled == 0


def test_an_adapter_in_fp32_stays_in_registers() -> None:
    shipped_form = VARIANTS["lora_shrink-rank16-bf16-many_tokens"]
    sizes = {"RANK": 96, "BR": 32, "PAIR": 1, "BK": shipped_form.constants["BK"] // 2}
    in_fp32 = replace(
        shipped_form,
        signature={**shipped_form.signature, "x_ptr": "*fp32"},
        constants={**shipped_form.constants, **sizes},
    )
    assert resources_of(build(in_fp32, BY_NAME["sm_90"])).spilled == 0


def test_71_heads_of_one_kv_head_stay_in_registers() -> None:
    """Falcon 7B's."""
    shipped_form, device = VARIANTS["attention-decode-d64-fp8-codes-slopes"].on("sm_90"), BY_NAME["sm_90"]
    rows = decode_rows(71, 71)
    keys = with_room(tiles_of(TABLES["decode"], device, 64, itemsize=1), rows).block_n
    sizes = {"HEADS": 71, "BLOCK_M": rows, "BLOCK_N": keys, **join_sizes(71, 64)}
    many = replace(shipped_form, constants={**shipped_form.constants, **sizes}, tuned={})
    assert resources_of(build(many, device)).spilled == 0


@pytest.mark.parametrize("target", ["sm_90", "sm_120"])
def test_seven_heads_of_one_kv_head_stay_in_registers(target: str) -> None:
    """Qwen 2.5 7B's, by which rows are divided in more registers than by four."""
    shipped_form = VARIANTS["attention-prefill-d128-int8-codes"].on(target)
    seven = replace(shipped_form, constants={**shipped_form.constants, "HEADS": 7}, tuned={})
    assert resources_of(build(seven, BY_NAME[target])).spilled == 0


@pytest.mark.parametrize("target", ["sm_86", "sm_90"])
@pytest.mark.parametrize("kind", ["prefill", "decode"])
def test_attention_in_fp32_fits(kind: str, target: str) -> None:
    """It has no row on the page, for hardly anybody computes so; whoever does shall not be refused for want of room."""
    variant, device = VARIANTS[f"attention-{kind}-d128"].on(target), BY_NAME[target]
    tiles = tiles_of(TABLES[kind], device, 128, itemsize=4)
    sizes = {"BLOCK_M": tiles.block_m, "BLOCK_N": tiles.block_n, "STAGES": tiles.stages}
    in_fp32 = replace(
        variant,
        signature={**variant.signature, **dict.fromkeys(("q_ptr", "k_ptr", "v_ptr", "out_ptr"), "*fp32")},
        constants={**variant.constants, **sizes},
        num_warps=tiles.warps,
        num_stages=tiles.stages,
        tuned={},
    )
    resources = resources_of(build(in_fp32, device))
    assert resources.spilled == 0
    assert resources.shared <= SHARED_MEMORY[target]
