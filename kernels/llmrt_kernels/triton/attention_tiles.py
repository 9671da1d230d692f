"""Attention of a block of rows over a range of keys, a tile of keys at a time: what prefill and decode share.

A row is a query and one of the HEADS heads that read the same kv head: row r is query r // HEADS, head r % HEADS, so
that a key is read once for all of them. With c = scale * log2(e), for each tile

    s = q k^T                                    [BLOCK_M, BLOCK_N]
    m = max(m, c max(s)),  p = 2^(c s - m)       m is the running maximum, in units of log2
    out = out 2^(m_old - m) + p v                to be divided by total, the same sum of the p alone

(https://arxiv.org/abs/2205.14135). c is applied in the exponent: a multiply-add there costs what the subtraction alone
would, and q stays as exact as it came. Capped scores are cap tanh(scale q k / cap), where the tanh is

    1 - 2 / (1 + 2^(bend q k)),  bend = 2 log2(e) scale / cap,  and c = cap log2(e)

With slopes (https://arxiv.org/abs/2108.12409) a score has slope (key - last_position) added: what that differs by from
the row's own position is the same for all of its scores. ``slopes_ptr`` [BLOCK_M] are the places of the rows' slopes.

    k, v             [blocks, KVH, PAGE, DIM]; a tile may be a part of a page or several pages
    k, v scales      [blocks, KVH, PAGE] fp32, None unless the cache is int8, or uint8, which is fp8 here
    DIM_PADDED       the power of two from DIM on that the products take

Keys and values of such a cache become fp16 as they are read, scale and all, before they are spread to the warps: there
a thread has a few tokens' scales to apply. As factors of the scores and weights, where it has a token in eight, they
took a third more instructions and the registers that out needs.

Tiles that every row sees as a whole are one loop; those cut by the diagonal or by the window's edge are another, few.
"""

from __future__ import annotations

import triton
import triton.language as tl

from llmrt_kernels.triton.fp8 import halves_of_fp8

LOG2_E = tl.constexpr(1.4426950408889634)
LOWEST = tl.constexpr(-1e30)  # a maximum before any score; finite, so that a tile without visible keys changes nothing


@triton.jit
def rows_of(start, from_query, queries, kv_head, HEADS: tl.constexpr, BLOCK_M: tl.constexpr):
    """A block of rows of the request whose tokens begin at ``start``: token, head, whether there is such a row.

    Divided by heads that are no power of two, rows counted from the block's first would be the same before and behind a
    prompt's loops, and keep registers through them: they are counted from the request's. A sign takes more of them.
    """
    row = tl.arange(0, BLOCK_M)
    of_request = (from_query * HEADS + row).to(tl.uint32)
    query = (of_request // HEADS).to(tl.int32)
    valid = (query < queries) & (row < BLOCK_M // HEADS * HEADS)
    return (start + query).to(tl.int64), kv_head * HEADS + (of_request % HEADS).to(tl.int32), valid


@triton.jit
def attend(
    q, positions, first_position, last_position,
    k_ptr, v_ptr, k_scales_ptr, v_scales_ptr, table_ptr, kv_head, kv_heads, begin_tile, end_tile,
    scale_log2, bend, slopes_ptr, window,
    DIM: tl.constexpr, PAGE: tl.constexpr, BLOCK_N: tl.constexpr, STAGES: tl.constexpr, ASM: tl.constexpr,
):  # fmt: skip
    """Rows q [BLOCK_M, DIM_PADDED] at ``positions`` [BLOCK_M] over the tiles begin_tile to end_tile of a request.

    ``table_ptr`` is the request's row of the block table; positions lie between first_position and last_position; each
    sees ``window`` keys, the last its own. Returns out [BLOCK_M, DIM_PADDED], m and total [BLOCK_M], all fp32.
    """
    first_whole = tl.cdiv(tl.maximum(last_position - window + 1, 0), BLOCK_N)
    first_whole = tl.minimum(tl.maximum(first_whole, begin_tile), end_tile)
    end_whole = tl.maximum(tl.minimum((first_position + 1) // BLOCK_N, end_tile), first_whole)
    first_page = tl.maximum(first_position - window + 1, 0) // PAGE
    last_page = last_position // PAGE

    out = tl.zeros(q.shape, tl.float32)
    most = tl.full([q.shape[0]], LOWEST, tl.float32)
    total = tl.zeros([q.shape[0]], tl.float32)

    # A tile's pages are read a turn ahead: copies of keys that had to wait for them could not be sent off early.
    pages = pages_of(table_ptr, first_whole, first_page, last_page, PAGE, BLOCK_N)
    for tile in tl.range(first_whole, end_whole):
        next_pages = pages_of(table_ptr, tile + 1, first_page, last_page, PAGE, BLOCK_N)
        out, most, total = attend_tile(
            out, most, total, q, positions, first_position, last_position,
            k_ptr, v_ptr, k_scales_ptr, v_scales_ptr, pages, kv_head, kv_heads, tile,
            scale_log2, bend, slopes_ptr, window,
            DIM, PAGE, BLOCK_N, ASM, False,
        )  # fmt: skip
        pages = next_pages

    left = first_whole - begin_tile  # tiles that the window cuts
    tile = tl.where(left > 0, begin_tile, end_whole)
    pages = pages_of(table_ptr, tile, first_page, last_page, PAGE, BLOCK_N)
    for i in tl.range(1, left + end_tile - end_whole + 1, num_stages=min(STAGES, 2)):
        next_tile = tl.where(i < left, begin_tile, end_whole - left) + i
        next_pages = pages_of(table_ptr, next_tile, first_page, last_page, PAGE, BLOCK_N)
        out, most, total = attend_tile(
            out, most, total, q, positions, first_position, last_position,
            k_ptr, v_ptr, k_scales_ptr, v_scales_ptr, pages, kv_head, kv_heads, tile,
            scale_log2, bend, slopes_ptr, window,
            DIM, PAGE, BLOCK_N, ASM, True,
        )  # fmt: skip
        tile = next_tile
        pages = next_pages
    return out, most, total


@triton.jit
def pages_of(table_ptr, tile, first_page, last_page, PAGE: tl.constexpr, BLOCK_N: tl.constexpr):
    """The block of each key of a tile, [BLOCK_N] int32. Of the table only first_page to last_page are read."""
    n = tl.arange(0, BLOCK_N)
    first = tile * BLOCK_N // PAGE
    pages = tl.full([BLOCK_N], block_of(table_ptr, first, first_page, last_page), tl.int32)
    for i in tl.static_range(1, BLOCK_N // PAGE):
        pages = tl.where(n < i * PAGE, pages, block_of(table_ptr, first + i, first_page, last_page))
    return pages


@triton.jit
def block_of(table_ptr, page, first_page, last_page):
    """The block of a page, or of the nearest that may be read."""
    return tl.load(table_ptr + tl.minimum(tl.maximum(page, first_page), last_page)).to(tl.int32)


@triton.jit
def attend_tile(
    out, most, total, q, positions, first_position, last_position,
    k_ptr, v_ptr, k_scales_ptr, v_scales_ptr, pages, kv_head, kv_heads, tile, scale_log2, bend, slopes_ptr, window,
    DIM: tl.constexpr, PAGE: tl.constexpr, BLOCK_N: tl.constexpr, ASM: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """One tile. Without MASKED every row sees all of its keys."""
    keys = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    slots = (pages.to(tl.int64) * kv_heads + kv_head) * PAGE + keys % PAGE
    # Slots that no row sees may never have been written: scores of their keys are replaced, their values count as 0.
    seen = (keys <= last_position) & (keys > first_position - window)

    k = read_rows(k_ptr, k_scales_ptr, slots, seen, DIM, q.shape[1], ASM, False)
    s = tl.dot(q, tl.trans(k), input_precision="ieee")
    if bend is not None:
        s = 1 - 2 / (1 + tl.exp2(s * bend))
    if slopes_ptr is not None:
        slopes = tl.load(slopes_ptr) * (LOG2_E / scale_log2)
        s += slopes[:, None] * (keys - last_position).to(tl.float32)[None, :]
    if MASKED:
        behind = (positions[:, None] - keys[None, :]).to(tl.uint32, bitcast=True)  # of later keys: above every window
        s = tl.where(behind < window.to(tl.uint32, bitcast=True), s, float("-inf"))
    new_most = tl.maximum(most, tl.max(s, 1) * scale_log2)
    p = tl.exp2(s * scale_log2 - new_most[:, None])
    keep = tl.exp2(most - new_most)
    total = total * keep + tl.sum(p, 1)
    v = read_rows(v_ptr, v_scales_ptr, slots, seen, DIM, q.shape[1], ASM, MASKED)
    out = tl.dot(p.to(v.dtype), v, out * keep[:, None], input_precision="ieee")
    return out, new_most, total


@triton.jit
def read_rows(
    ptr, scales_ptr, slots, seen,
    DIM: tl.constexpr, DIM_PADDED: tl.constexpr, ASM: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Keys or values [BLOCK_N, DIM_PADDED] of ``slots`` as the products take them; with MASKED 0 unless ``seen``."""
    d = tl.arange(0, DIM_PADDED)
    at = ptr + (slots[:, None] * DIM + d[None, :])
    inside = (d < DIM)[None, :]
    if scales_ptr is None:
        return load(at, seen[:, None] & inside, MASKED or DIM_PADDED > DIM)
    else:
        scales = load(scales_ptr + slots, seen, MASKED)
        x = load(at, inside, DIM_PADDED > DIM)
        if ptr.dtype.element_ty == tl.uint8:
            return halves_of_fp8(x, (scales * 256.0).to(tl.float16)[:, None], ASM)
        else:
            return to_half(x, scales.to(tl.float16)[:, None], ASM)


@triton.jit
def load(ptr, mask, MASKED: tl.constexpr):
    """What is at ``ptr``; with MASKED 0 where ``mask`` does not hold."""
    if MASKED:
        return tl.load(ptr, mask=mask, other=0)
    else:
        return tl.load(ptr)


@triton.jit
def to_half(x, scales, ASM: tl.constexpr):
    """x int8 times ``scales`` fp16, in fp16.

    A byte b + 128 behind 0x64 is the half 1024 + 128 + b: 7 instructions for four, where the compiler's own conversion
    takes a slow one for each. The assembly is called impure so that the compiler leaves it where the bytes are read;
    else it is moved to where the products take them, and every warp does it again.
    """
    if ASM == "cuda":
        return tl.inline_asm_elementwise(
            """{
            .reg .b32 u, zero;
            xor.b32 u, $2, 0x80808080;
            mov.b32 zero, 0x64806480;
            prmt.b32 $0, u, 0x64646464, 0x4140;
            prmt.b32 $1, u, 0x64646464, 0x4342;
            sub.f16x2 $0, $0, zero;
            sub.f16x2 $1, $1, zero;
            mul.f16x2 $0, $0, $3;
            mul.f16x2 $1, $1, $4;
            }""",
            "=&r,=&r,r,r,r",
            [x, scales],
            dtype=tl.float16,
            is_pure=False,
            pack=4,
        )
    elif ASM == "gfx11":
        return tl.inline_asm_elementwise(
            "v_mov_b32 $0, $1", "=v,v", [x.to(tl.float16) * scales], dtype=tl.float16, is_pure=False, pack=2
        )
    else:
        return x.to(tl.float16) * scales


@triton.jit
def query_factor(q, k_ptr):
    """Queries in the type of the products: that of keys and values, or fp16 if those are bytes."""
    if k_ptr.dtype.element_ty.primitive_bitwidth == 8:
        return q.to(tl.float16)
    else:
        return q.to(k_ptr.dtype.element_ty)
