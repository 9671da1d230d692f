"""From a checkpoint that is quantized already to a decoder of packed weights, its codes as they are, tensor by tensor.

Matrices that are not in codes, or in codes that the kernels have no form for, are rounded to int8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from llmrt.model.checkpoints.checkpoint import Checkpoint
from llmrt.model.checkpoints.kept import kept_schemes
from llmrt.model.checkpoints.tensor_slots import Slot
from llmrt.model.loading.packed_pieces import arranged, install, packed_twin
from llmrt.model.loading.read_tensors import check_finite, is_finite, place, read_tensor, reordered
from llmrt.model.loading.torch_threads import torch_threads
from llmrt.model.modules.decoder import Decoder
from llmrt.ops.types import OpSpec
from llmrt.quant.file_rows import FileRows
from llmrt.quant.packed_weight import PackedWeight
from llmrt.quant.quantize import quantize
from llmrt.quant.scheme import QuantScheme
from llmrt.quant.stored_codes import StoredCodes


def load_as_stored(
    decoder: Decoder,
    checkpoint: Checkpoint,
    slots: dict[str, Slot],
    spec: OpSpec,
    progress: Callable[[int], None],
) -> None:
    """Fill ``decoder``, which is without storage. Vectors and routers are fp32. Raises ``CheckpointError``."""
    schemes = kept_schemes(checkpoint.inventory, slots, spec.device)
    others: dict[str, Tensor] = {}
    for name in slots.keys() - schemes.keys():
        place(others, decoder, slots[name], read_tensor(checkpoint, name, slots[name]))
        progress(math.prod(slots[name].shape))
    with torch_threads():
        for parameter, names in _by_parameter(slots, schemes).items():
            module = parameter.removesuffix(".weight")
            dense, bias = decoder.get_submodule(module), others.pop(f"{module}.bias", None)
            matrices = {name: _matrix(checkpoint, name, slots[name], schemes[name]) for name in names}
            pieces = _packed(checkpoint, dense, matrices)
            install(decoder, module, packed_twin(dense, pieces, bias, spec), spec)
            progress(sum(math.prod(slots[name].shape) for name in names))
    decoder.load_state_dict({name: t.to(spec.device) for name, t in others.items()}, assign=True, strict=True)


def _by_parameter(slots: dict[str, Slot], schemes: dict[str, QuantScheme]) -> dict[str, list[str]]:
    """The matrices of each parameter, from its first rows to its last."""
    found: dict[str, list[str]] = {}
    for name in schemes:
        found.setdefault(slots[name].parameter, []).append(name)
    return found


def _matrix(checkpoint: Checkpoint, name: str, slot: Slot, scheme: QuantScheme) -> PackedWeight | FileRows:
    rows, order = checkpoint.load_rows(name), slot.heads
    if rows is not None and rows.scheme == scheme:
        return rows if order is None else rows.with_rows(lambda addresses: reordered(addresses, order))
    codes = checkpoint.load_codes(name, flat=scheme.form is None)
    if codes is None:
        return _rounded(read_tensor(checkpoint, name, slot), scheme)
    _check_finite(checkpoint, name, codes)
    if order is not None:
        codes = codes.with_rows(lambda tensor: reordered(tensor, order))
    return codes.widened(scheme).pack()


def _packed(
    checkpoint: Checkpoint, dense: nn.Module, matrices: dict[str, PackedWeight | FileRows]
) -> Sequence[PackedWeight]:
    """The weight of ``dense``, arranged. Rows of one kind are arranged in their file, and packed into their places."""
    rows = {name: matrix for name, matrix in matrices.items() if isinstance(matrix, FileRows)}
    together = len(rows) == len(matrices) and len({each.kind for each in rows.values()}) == 1
    if together:
        pieces = [piece.pack() for piece in arranged(dense, [*rows.values()])]
        if all(is_finite(tensor) for piece in pieces for tensor in piece.tensors[1:]):
            return pieces
    packed = {name: each.pack() if isinstance(each, FileRows) else each for name, each in matrices.items()}
    for name in rows:
        _check_finite(checkpoint, name, packed[name])
    return arranged(dense, [*packed.values()])


def _rounded(tensor: Tensor, scheme: QuantScheme) -> PackedWeight:
    """Offsets, which only the codes beside it need, are zeros."""
    spec = OpSpec("cpu", torch.float32, scheme.group)
    packed = quantize(tensor, replace(scheme, affine=False), spec)
    return replace(packed, scheme=scheme, offsets=torch.zeros_like(packed.scales) if scheme.affine else None)


def _check_finite(checkpoint: Checkpoint, name: str, codes: StoredCodes | PackedWeight) -> None:
    for tensor in (codes.scales, codes.offsets):
        if tensor is not None:
            check_finite(checkpoint, name, tensor)
