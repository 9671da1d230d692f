"""From a checkpoint that is quantized already to a decoder of packed weights, its codes as they are, tensor by tensor.

Matrices that are not in codes, or in codes that the kernels have no form for, are rounded to int8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from llmrt.model.checkpoints.kept import kept_schemes
from llmrt.model.checkpoints.tensor_slots import Slot
from llmrt.model.loading.packed_pieces import arranged
from llmrt.model.loading.read_tensors import WeightLoad, is_finite, reordered
from llmrt.model.loading.torch_threads import torch_threads
from llmrt.ops.types import OpSpec
from llmrt.quant.file_rows import FileRows
from llmrt.quant.packed_weight import PackedWeight
from llmrt.quant.quantize import quantize
from llmrt.quant.scheme import QuantScheme
from llmrt.quant.stored_codes import StoredCodes


def load_as_stored(load: WeightLoad) -> None:
    """Fill the decoder. Vectors and routers are fp32. Raises ``CheckpointError``."""
    decoder, slots = load.decoder, load.slots
    schemes = kept_schemes(load.checkpoint.inventory, slots, decoder.spec.device)
    others: dict[str, Tensor] = {}
    for name in slots.keys() - schemes.keys():
        load.place(others, name, load.read(name))
        load.progress(math.prod(slots[name].shape))
    with torch_threads():
        for parameter, names in _by_parameter(slots, schemes).items():
            module = parameter.removesuffix(".weight")
            matrices = {name: _matrix(load, name, schemes[name]) for name in names}
            load.pack(module, _packed(load, decoder.get_submodule(module), matrices), others)
            load.progress(sum(math.prod(slots[name].shape) for name in names))
    decoder.load_state_dict(others, assign=True, strict=True)


def _by_parameter(slots: dict[str, Slot], schemes: dict[str, QuantScheme]) -> dict[str, list[str]]:
    """The matrices of each parameter, from its first rows to its last."""
    found: dict[str, list[str]] = {}
    for name in schemes:
        found.setdefault(slots[name].parameter, []).append(name)
    return found


def _matrix(load: WeightLoad, name: str, scheme: QuantScheme) -> PackedWeight | FileRows:
    rows, order = load.checkpoint.load_rows(name), load.slots[name].heads
    if rows is not None and rows.scheme == scheme:
        return rows if order is None else rows.with_rows(lambda addresses: reordered(addresses, order))
    codes = load.checkpoint.load_codes(name, flat=scheme.form is None)
    if codes is None:
        return _rounded(load.read(name), scheme)
    _check_finite(load, name, codes)
    if order is not None:
        codes = codes.with_rows(lambda tensor: reordered(tensor, order))
    return codes.widened(scheme).pack()


def _packed(load: WeightLoad, dense: nn.Module, matrices: dict[str, PackedWeight | FileRows]) -> Sequence[PackedWeight]:
    """The weight of ``dense``, arranged. Rows of one kind are arranged in their file, and packed into their places."""
    rows = {name: matrix for name, matrix in matrices.items() if isinstance(matrix, FileRows)}
    together = len(rows) == len(matrices) and len({each.kind for each in rows.values()}) == 1
    if together:
        pieces = [piece.pack() for piece in arranged(dense, [*rows.values()])]
        if all(is_finite(tensor) for piece in pieces for tensor in piece.tensors[1:]):
            return pieces
    packed = {name: each.pack() if isinstance(each, FileRows) else each for name, each in matrices.items()}
    for name in rows:
        _check_finite(load, name, packed[name])
    return arranged(dense, [*packed.values()])


def _rounded(tensor: Tensor, scheme: QuantScheme) -> PackedWeight:
    """Offsets, which only the codes beside it need, are zeros."""
    spec = OpSpec("cpu", torch.float32, scheme.group)
    packed = quantize(tensor, replace(scheme, affine=False), spec)
    return replace(packed, scheme=scheme, offsets=torch.zeros_like(packed.scales) if scheme.affine else None)


def _check_finite(load: WeightLoad, name: str, codes: StoredCodes | PackedWeight) -> None:
    for tensor in (codes.scales, codes.offsets):
        if tensor is not None:
            load.check_finite(name, tensor)
