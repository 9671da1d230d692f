"""Tiny models quantized as other tools do it: by their libraries where those run here, else by their formula.

A quantizer takes a matrix [N, K] and gives the tensors that a checkpoint has for it, by their names behind the
module's, and the matrix that they stand for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes.functional as bnb
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.tiny import make_model, save_model

Members = dict[str, Tensor]
Quantizer = Callable[[Tensor], tuple[Members, Tensor]]

SHAPE: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 192, "vocab_size": 133}
WEIGHT = ".weight"


def quantized_folder(
    folder: Path, quantizer: Quantizer, said: dict[str, Any], family: str = "llama", **fields: Any
) -> PreTrainedModel:
    """Write a model into ``folder``, quantized, with ``said`` as its quantization_config; returns what that is."""
    plain = folder.parent / f"{folder.name}-dense"
    save_model(make_model(family, **{**SHAPE, **fields}, dtype=torch.bfloat16), plain)
    tensors, stored = load_file(plain / "model.safetensors"), {}
    for name, tensor in list(tensors.items()):
        if tensor.dim() == 2 and ".layers." in name and not name.endswith("gate.weight"):
            members, matrix = quantizer(tensor)
            tensors[name] = matrix.contiguous()
            stored |= {f"{name.removesuffix(WEIGHT)}.{key}": held.contiguous() for key, held in members.items()}
        else:
            stored[name] = tensor
    save_file(tensors, plain / "model.safetensors", {"format": "pt"})
    folder.mkdir(exist_ok=True)
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((plain / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **({"quantization_config": said} if said else {})}))
    return AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32).eval()


def as_words(codes: Tensor, bits: int) -> Tensor:
    """Whole numbers [R, C] -> int32 [R, words]: bits one after the other, the lowest first."""
    stream = (codes.long().unsqueeze(-1) >> torch.arange(bits)) & 1
    stream = torch.nn.functional.pad(stream.flatten(1), (0, -codes.shape[1] * bits % 32))
    words = (stream.unflatten(1, (-1, 32)) << torch.arange(32)).sum(-1)
    return torch.where(words < 2**31, words, words - 2**32).to(torch.int32)


def grouped(
    weight: Tensor, bits: int, group_of: Tensor, *, symmetric: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """codes [N, K], zeros and scales [N, groups] and the matrix [N, K] that is left, columns in groups of any order."""
    codes, matrix, zeros, scales = torch.empty_like(weight, dtype=torch.int64), torch.empty_like(weight).half(), [], []
    for group in range(int(group_of.max()) + 1):
        columns = weight[:, group_of == group].float()
        low, high = columns.amin(1, keepdim=True).clamp(max=0), columns.amax(1, keepdim=True).clamp(min=0)
        if symmetric:
            low = -torch.maximum(high, -low)
            high = -low
        scale = ((high - low) / (2**bits - 1)).half()
        zero = torch.full_like(low, 2 ** (bits - 1)) if symmetric else (-low / scale).round().clamp(1, 2**bits - 1)
        code = (columns / scale + zero).round().clamp(0, 2**bits - 1)
        codes[:, group_of == group] = code.long()
        matrix[:, group_of == group] = ((code - zero).double() * scale.double()).half()
        zeros.append(zero), scales.append(scale)
    return codes, torch.cat(zeros, 1).long(), torch.cat(scales, 1), matrix


def gptq(
    bits: int = 4, group: int = 64, *, first_zero: int = 1, act_order: bool = False, symmetric: bool = False
) -> Quantizer:
    """AutoGPTQ's layout, ``first_zero`` 0 for gptq_v2."""

    def quantize(weight: Tensor) -> tuple[Members, Tensor]:
        group_of = torch.arange(weight.shape[1]) // (group if group > 0 else weight.shape[1])
        if act_order:
            group_of = group_of[torch.randperm(len(group_of), generator=torch.Generator().manual_seed(3))]
        codes, zeros, scales, matrix = grouped(weight, bits, group_of, symmetric=symmetric)
        members = {
            "qweight": as_words(codes, bits).T,
            "qzeros": as_words(zeros.T - first_zero, bits),
            "scales": scales.T,
            "g_idx": group_of.to(torch.int32),
        }
        return members, matrix

    return quantize


def awq(weight: Tensor) -> tuple[Members, Tensor]:
    """AutoAWQ's gemm layout, 4 bits, groups of 64."""
    codes, zeros, scales, matrix = grouped(weight, 4, torch.arange(weight.shape[1]) // 64)

    def as_awq_words(numbers: Tensor) -> Tensor:
        return as_words(numbers.T.unflatten(1, (-1, 8))[..., [0, 2, 4, 6, 1, 3, 5, 7]].flatten(1), 4)

    return {"qweight": as_awq_words(codes), "qzeros": as_awq_words(zeros), "scales": scales.T}, matrix


def compressed(form: str, **weights: Any) -> tuple[Quantizer, dict[str, Any]]:
    """What compressed-tensors makes of a matrix, and the configuration that says so."""
    scheme = QuantizationScheme(targets=["Linear"], weights=weights, format=form)
    compressor: Any = BaseCompressor.get_value_from_registry(form)

    def quantize(weight: Tensor) -> tuple[Members, Tensor]:
        scale, zero = calculate_qparams(*_extremes(weight, scheme.weights), scheme.weights)
        state = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero}
        members = compressor.compress(state, scheme)
        return members, compressor.decompress(members, scheme)["weight"]

    group = {"targets": ["Linear"], "weights": scheme.weights.model_dump(mode="json"), "format": form}
    said = {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}}
    return quantize, said


def _extremes(weight: Tensor, weights: Any) -> tuple[Tensor, Tensor]:
    if weights.strategy == "group":
        pieces = weight.unflatten(1, (-1, weights.group_size))
        return pieces.amin(-1), pieces.amax(-1)
    if weights.strategy == "block":
        rows, columns = weights.block_structure
        padded = torch.nn.functional.pad(weight, (0, -weight.shape[1] % columns, 0, -weight.shape[0] % rows))
        pieces = padded.unflatten(1, (-1, columns)).unflatten(0, (-1, rows))
        return pieces.amin((1, 3)), pieces.amax((1, 3))
    if weights.strategy == "channel":
        return weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    return weight.amin().view(1), weight.amax().view(1)


def fp8(block: int = 0, name: str = "weight_scale") -> Quantizer:
    """quant_method fp8: a scale for all numbers, or in blocks."""

    def quantize(weight: Tensor) -> tuple[Members, Tensor]:
        rows, columns = (block, block) if block else weight.shape
        padded = torch.nn.functional.pad(weight.float(), (0, -weight.shape[1] % columns, 0, -weight.shape[0] % rows))
        pieces = padded.unflatten(1, (-1, columns)).unflatten(0, (-1, rows))
        scales = pieces.abs().amax((1, 3), keepdim=True) / 448
        stored = (pieces / scales).to(torch.float8_e4m3fn)
        matrix = (stored.float() * scales).flatten(2).flatten(0, 1)[: weight.shape[0], : weight.shape[1]]
        whole = stored.view(torch.uint8).flatten(2).flatten(0, 1)[: weight.shape[0], : weight.shape[1]]
        members = {"weight": whole.contiguous().view(torch.float8_e4m3fn), name: scales[:, 0, :, 0]}
        if not block:
            members[name], members["input_scale"] = members[name].view(()), torch.ones(())
        return members, matrix.bfloat16()

    return quantize


def table(kind: str, *, nested: bool) -> Quantizer:
    """bitsandbytes' nf4 and fp4."""

    def quantize(weight: Tensor) -> tuple[Members, Tensor]:
        packed, state = bnb.quantize_4bit(weight, quant_type=kind, compress_statistics=nested)
        members = {f"weight.{key}": held for key, held in state.as_dict(packed=True).items()}
        return {"weight": packed, **members}, bnb.dequantize_4bit(packed, state)

    return quantize


def int8(weight: Tensor) -> tuple[Members, Tensor]:
    """bitsandbytes' LLM.int8()."""
    codes, scales, _ = bnb.int8_vectorwise_quant(weight.half())
    members = {"weight": codes, "SCB": scales, "weight_format": torch.tensor(0, dtype=torch.uint8)}
    return members, bnb.int8_vectorwise_dequant(codes, scales).bfloat16()
