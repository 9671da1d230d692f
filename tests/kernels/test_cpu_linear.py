"""The packed products, on every instruction set of this machine, against float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from llmrt.model.config import RopeConfig
from llmrt.model.modules.rope import cos_sin_table
from llmrt_kernels.cpu.linear import (
    activated_linear,
    embedding,
    gate_rows,
    gated_linear,
    layer_norm,
    linear,
    quantize_rows,
    rms_norm,
    rms_norm_add,
    rotary_linear,
    round_rows,
    scale,
)
from llmrt_kernels.cpu.residual import add_rows, add_scaled, stream_norm
from llmrt_kernels.head_norm import HeadNorm
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.layout import FORMS
from llmrt_kernels.packed import Codes, Rows, Weight
from llmrt_kernels.reference.rope_kv_write import rotate
from tests.kernels.operands import relative
from tests.kernels.packing import float_weight, meant, nested_matrix, random_matrix, random_weight

pytestmark = pytest.mark.usefixtures("isa")

ROWS_AND_COLUMNS = [((16,), 64), ((1,), 32), ((48, 50), 96), ((32, 16, 33), 208), ((100,), 576)]


def inputs(tokens: int, columns: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(tokens)
    return torch.randn(tokens, columns, generator=generator) * torch.rand(tokens, 1, generator=generator) * 10


@pytest.mark.parametrize(("tokens", "columns"), [(1, 16), (3, 64), (9, 208), (2, 576)])
@pytest.mark.parametrize("group", [32, 64])
def test_activations_are_rounded_to_127_steps_of_their_group(tokens: int, columns: int, group: int) -> None:
    x = inputs(tokens, columns)
    codes = quantize_rows(x, group)
    padded = torch.nn.functional.pad(x, (0, -columns % group)).unflatten(1, (-1, group))
    scale = padded.abs().amax(-1) / 127
    torch.testing.assert_close(codes.scales, scale)
    error = (meant(codes, columns) - x).abs()
    assert (error <= 0.501 * scale.repeat_interleave(group, 1)[:, :columns]).all()


@pytest.mark.parametrize(("rows", "columns"), ROWS_AND_COLUMNS)
@pytest.mark.parametrize("tokens", [1, 2, 5, 8, 9, 23])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("group", [32, 64])
@pytest.mark.parametrize("affine", [False, True])
def test_linear_equals_the_formula(
    rows: tuple[int, ...], columns: int, tokens: int, bits: int, group: int, affine: bool
) -> None:
    widths = tuple(bits if i % 2 == 0 else 12 - bits for i in range(len(rows)))
    has_bias = tokens % 2 == 1
    weight, dense = random_weight(rows, columns, widths, group, bias=has_bias, affine=affine, seed=sum(rows) + bits)
    x = quantize_rows(inputs(tokens, columns), group)
    residual = inputs(tokens, dense.shape[0]) if tokens % 3 else None
    expected = meant(x, columns) @ dense.T
    expected += (0 if weight.bias is None else weight.bias) + (0 if residual is None else residual)
    assert relative(linear(x, weight, residual), expected) < 1e-6


@pytest.mark.parametrize("tokens", [1, 3, 8, 19])
@pytest.mark.parametrize("forms", [tuple(FORMS)[i : i + 2] for i in range(0, len(FORMS), 2)])
def test_linear_of_ggufs_forms_equals_the_formula(forms: tuple[str, ...], tokens: int) -> None:
    """Of several types side by side."""
    nested = (nested_matrix(48, 512, name) for name in forms)
    pieces = *nested, random_matrix(16, 512, 4, 32, affine=True), nested_matrix(50, 512, forms[0])
    matrices, dense = zip(*pieces, strict=True)
    x = quantize_rows(inputs(tokens, 512), 32)
    assert relative(linear(x, Weight(matrices, 32)), meant(x, 512) @ torch.cat(dense).T) < 1e-6


@pytest.mark.parametrize("bits", [4, 8])
def test_quantizing_the_activations_costs_little(bits: int) -> None:
    weight, dense = random_weight((64,), 512, (bits,), 32)
    x = inputs(4, 512)
    assert relative(linear(quantize_rows(x, 32), weight), x.double() @ dense.T) < 1e-2


def test_extremes() -> None:
    weight, dense = random_weight((16,), 64, (8,), 32)
    for x in (torch.zeros(1, 64), torch.full((1, 64), 1e30), torch.full((1, 64), 1e-30)):
        expected = x.double() @ dense.T
        assert (linear(quantize_rows(x, 32), weight).double() - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (3, 160), (11, 576), (2, 4096)])
def test_norm_equals_the_formula(tokens: int, size: int) -> None:
    x, weight = inputs(tokens, size), torch.randn(size, generator=torch.Generator().manual_seed(size))
    wide = x.double()
    expected = wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    codes = rms_norm(x, weight, 1e-5, 64)
    exact = meant(quantize_rows(expected.float(), 64), size)
    assert (meant(codes, size) - exact).abs().max() <= 1.01 * codes.scales.max()
    assert relative(meant(codes, size), exact) < 2e-3


@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (3, 160), (11, 576)])
def test_layer_norm_equals_the_formula(tokens: int, size: int) -> None:
    x = inputs(tokens, size) + 3
    weight, bias = inputs(2, size)
    wide = x.double()
    deviation = (wide.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    expected = (wide - wide.mean(-1, keepdim=True)) / deviation * weight.double() + bias.double()
    assert relative(meant(layer_norm(x, weight, bias, 1e-5, 0), size), expected) < 1e-6
    assert relative(stream_norm(x, weight, bias, 1e-5), expected) < 1e-6
    assert relative(meant(layer_norm(x, weight, bias, 1e-5, 64), size), expected) < 1e-2


@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (11, 576)])
def test_a_norm_behind_a_product_is_added_to_the_residual(tokens: int, size: int) -> None:
    x, residual, weight = inputs(tokens, size), inputs(tokens + 1, size)[:tokens].contiguous(), inputs(1, size)[0]
    wide = x.double()
    expected = residual + wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    assert relative(rms_norm_add(x, weight, 1e-5, residual), expected) < 1e-6


@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (11, 576)])
def test_rows_and_multiples_are_added_to_the_residual(tokens: int, size: int) -> None:
    x, residual, table = inputs(tokens, size), inputs(tokens + 1, size)[:tokens].contiguous(), inputs(20, size)
    index = torch.arange(tokens) % 3 * 7
    assert torch.equal(add_rows(x, table, index), x + table[index])
    assert relative(add_scaled(x, 0.3, residual), residual.double() + 0.3 * x.double()) < 1e-6


@pytest.mark.parametrize("cap", [0.0, 0.5, 30.0])
@pytest.mark.parametrize("size", [1, 16, 133])
def test_numbers_are_scaled_and_capped(size: int, cap: float) -> None:
    x = inputs(3, size)
    expected = 0.7 * x.double()
    expected = cap * (expected / cap).tanh() if cap else expected
    torch.testing.assert_close(scale(x.clone(), 0.7, cap).double(), expected, atol=3e-7 * max(1, cap), rtol=1e-6)


FORMULAS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": lambda x: x * x.sigmoid(),
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
    "gelu_tanh": lambda x: x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2,
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize(("tokens", "size"), [(1, 64), (4, 224), (17, 48)])
def test_activated_linear_equals_the_formula(tokens: int, size: int, name: str) -> None:
    weight, dense = float_weight((size,), 96, (torch.float32,), bias=True)
    x = round_rows(inputs(tokens, 96), torch.float32)
    assert weight.bias is not None
    expected = FORMULAS[name](meant(x, 96) @ dense.T + weight.bias)
    assert relative(meant(activated_linear(x, weight, name), size), expected) < 1e-6
    quantized, dense = random_weight((size,), 96, (4,), 32, affine=tokens == 4)
    codes = quantize_rows(inputs(tokens, 96) / 10, 32)
    expected = FORMULAS[name](meant(codes, 96) @ dense.T)
    assert relative(meant(activated_linear(codes, quantized, name), size), expected) < 2e-2


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("tokens", [1, 4, 17])
@pytest.mark.parametrize(("size", "group"), [(64, 64), (224, 64), (48, 32)])
def test_gated_linear_equals_the_formula(tokens: int, size: int, group: int, name: str) -> None:
    weight, dense = random_weight((2 * size,), 96, (4,), group, bias=tokens == 4, affine=tokens == 17)
    x = quantize_rows(inputs(tokens, 96) / 10, group)
    product = meant(x, 96) @ dense.T + (0 if weight.bias is None else weight.bias)
    rows = torch.arange(2 * size)
    in_group, groups = rows % (2 * group), rows // (2 * group)
    is_gate = in_group < torch.minimum(torch.tensor(group), size - groups * group)
    gate, up = product[:, is_gate], product[:, ~is_gate]
    expected = FORMULAS[name](gate) * up
    codes = gated_linear(x, weight, name)
    assert codes.columns >= size
    assert (meant(codes, size) - expected).abs().max() <= 0.51 * codes.scales.max()
    assert relative(meant(codes, size), expected) < 2e-2


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(2, 1, 32), (4, 2, 64), (3, 3, 96), (1, 1, 544)])
@pytest.mark.parametrize("kv_dtype", [torch.float32, torch.bfloat16, torch.float16, torch.uint8])
@pytest.mark.parametrize("normed", ["", "head by head", "all heads", "centred"])
def test_rotary_linear_equals_the_formula(
    heads: int, kv_heads: int, head_dim: int, kv_dtype: torch.dtype, normed: str
) -> None:
    block, tokens = 16, 9
    rows = ((heads + kv_heads) * head_dim, kv_heads * head_dim)
    weight, dense = random_weight(rows, 96, (4, 8), 32, bias=True, affine=bool(normed))
    x = quantize_rows(inputs(tokens, 96), 32)
    positions = torch.tensor([0, 1, 2, 7, 100, 1000, 3, 4, 5])
    slots = torch.tensor([30, 31, 32, 4, 17, 6, 96, 64, 65])
    k, v = torch.full((7, kv_heads, 2, block, head_dim), 77, dtype=kv_dtype).unbind(2)  # pages that take turns
    k_scales, v_scales = torch.full((7, kv_heads, 2, block), 1.0).unbind(2) if kv_dtype == torch.uint8 else (None, None)
    table = cos_sin_table(RopeConfig(), head_dim, 2048)
    norm = head_norm(normed, heads, kv_heads, head_dim)
    q = rotary_linear(x, weight, positions, table, slots, LayerKVCache(k, v, k_scales, v_scales), norm)
    product = (meant(x, 96) @ dense.T + weight.bias).float().unflatten(1, (-1, head_dim))
    if norm is not None:
        for part, of_part in ((product[:, :heads], norm.q), (product[:, heads : heads + kv_heads], norm.k)):
            part[:] = normalised(part, of_part, normed)
    cos, sin = table[positions].unsqueeze(2).unbind(1)
    expected_q, expected_k = (
        rotate(product[:, :heads], cos, sin),
        rotate(product[:, heads : heads + kv_heads], cos, sin),
    )
    expected_v = product[:, heads + kv_heads :]
    scale = float(product.abs().max())
    torch.testing.assert_close(q, expected_q, atol=1e-6 * scale, rtol=1e-5)
    tolerance = {torch.float32: 1e-6, torch.bfloat16: 4e-3, torch.float16: 5e-4, torch.uint8: 4e-3}[kv_dtype] * scale
    for t, slot in enumerate(slots.tolist()):
        page = slot // block
        for h in range(kv_heads):
            stored = [
                stored_rows(pages[page, h], None if s is None else s[page, h], is_key)[slot % block]
                for pages, s, is_key in ((k, k_scales, True), (v, v_scales, False))
            ]
            for actual, expected in zip(stored, (expected_k[t, h], expected_v[t, h]), strict=True):
                torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)
    if kv_dtype != torch.uint8:
        untouched = torch.ones(7 * block, dtype=torch.bool)
        untouched[slots] = False
        assert (k.transpose(1, 2).flatten(0, 1)[untouched] == 77).all()


def head_norm(kind: str, heads: int, kv_heads: int, dim: int) -> HeadNorm | None:
    if not kind:
        return None
    if kind == "head by head":
        return HeadNorm(*inputs(2, dim), eps=1e-5)
    q, k = inputs(heads, dim), inputs(kv_heads, dim)
    return HeadNorm(q, k, 1e-5, centred=True) if kind == "centred" else HeadNorm(q.flatten(), k.flatten(), 1e-5)


def normalised(x: torch.Tensor, weight: torch.Tensor, kind: str) -> torch.Tensor:
    """Queries or keys [T, heads, D], in float64."""
    wide, over = x.double(), (1, 2) if kind == "all heads" else (2,)
    if kind == "centred":
        wide = wide - wide.mean(-1, keepdim=True)
    return (wide / (wide.pow(2).mean(over, keepdim=True) + 1e-5).sqrt()).float() * weight.view(-1, x.shape[-1])


def stored_rows(page: torch.Tensor, scales: torch.Tensor | None, is_key: bool) -> torch.Tensor:
    """A page [block_size, D] as fp32 rows; an int8 one from the layout drawn at ``llmrt_cache``."""
    if scales is None:
        return page.float()
    size, dim = page.shape
    if is_key:
        rows = page.view(size // 16, dim // 4, 16, 4).transpose(1, 2).reshape(size, dim).float() - 128
    else:
        rows = page.view(torch.int8).view(size // 4, dim // 16, 16, 4).permute(0, 3, 1, 2).reshape(size, dim).float()
    return rows * scales.unsqueeze(1)


@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("kind", ["int8", torch.float32, torch.bfloat16], ids=str)
def test_a_gate_multiplies_whole_rows(tokens: int, kind: str | torch.dtype) -> None:
    def activations(columns: int) -> Codes | Rows:
        values = inputs(tokens, columns)
        return round_rows(values, kind) if isinstance(kind, torch.dtype) else quantize_rows(values, 64)

    x, h, gate = activations(208), activations(96), inputs(1, 208) / 100
    expected = (meant(x, 208) @ gate.double().T).sigmoid() * meant(h, 96)
    assert relative(meant(gate_rows(x, gate, h), 96), expected) < (4e-3 if kind == torch.bfloat16 else 1e-6)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("affine", [False, True])
def test_rows_of_a_table(bits: int, affine: bool) -> None:
    matrix, dense = random_matrix(50, 100, bits, 32, affine=affine)
    ids = torch.tensor([49, 0, 17, 17, 16])
    torch.testing.assert_close(embedding(ids, Weight((matrix,), 32), 100).double(), dense[ids])


@pytest.mark.parametrize("name", FORMS)
def test_rows_of_a_table_in_ggufs_forms(name: str) -> None:
    matrix, dense = nested_matrix(50, 512, name)
    ids = torch.tensor([49, 0, 17, 17, 16])
    found = embedding(ids, Weight((matrix,), 32), 512).double()
    torch.testing.assert_close(found, dense[ids], atol=1e-6 * float(dense.abs().max()), rtol=1e-6)
