"""A model with a LoRA adapter in its weights as a folder: W + b a, each matrix in the type that it is stored in.

With DoRA rows have the adapter's own lengths m: m (W + b a) / |W + b a|. Modules that were trained whole are replaced.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmrt.engine.conversion.quantized_folder import keep_sampling, new_folder
from llmrt.errors import CheckpointError
from llmrt.model.adapters.peft_adapter import PeftAdapter
from llmrt.model.checkpoints.safetensors.headers import SafetensorsHeaders
from llmrt.presets import UNSAID, Sampling

_LEFT_OUT = ("*.bin", "*.pth", "*.pt", "*.gguf", "*.safetensors")  # weights in other forms, which would not be merged


def write_merged(source: Path, adapter_folder: Path, output: Path, sampling: Sampling = UNSAID) -> None:
    """Write the folder ``output``, whole or not at all; memory holds one file of weights.

    ``sampling`` is for files that do not say how to draw.

    Raises ``CheckpointError`` for a model or an adapter that cannot be merged, ``DownloadError`` for a full disk.
    """
    adapter = PeftAdapter(adapter_folder, merging=True)
    if not source.is_dir():
        raise CheckpointError(f"{source} is no folder of safetensors; only those can be merged with an adapter.")
    headers = SafetensorsHeaders(source)
    _check_ties(headers, adapter)
    left = {f"{module}.weight" for module in adapter.modules} | set(adapter.whole)
    with new_folder(output) as scratch:
        shutil.copytree(source, scratch, ignore=shutil.ignore_patterns(*_LEFT_OUT), dirs_exist_ok=True)
        keep_sampling(scratch, sampling)
        for file in sorted({stored.file for stored in headers.inventory.values()}):
            tensors = load_file(file)
            for module in [module for module in adapter.modules if f"{module}.weight" in tensors]:
                _add(tensors, module, adapter, transposed=headers.names.transposed)
            for name in [name for name in adapter.whole if name in tensors]:
                _put(tensors, name, adapter.whole_tensor(name), adapter)
            left -= tensors.keys()
            save_file(tensors, scratch / file.name, metadata={"format": "pt"})
        if left:
            raise CheckpointError(f"{adapter.file}: the adapted tensor {min(left)} is not in {source}.")


def _check_ties(headers: SafetensorsHeaders, adapter: PeftAdapter) -> None:
    """Of a table that is the head as well, a copy of either was trained."""
    ends = {f"{headers.names.embedding}.weight", f"{headers.names.lm_head}.weight"}
    if headers.config.tied_embeddings and (found := ends & set(adapter.whole)):
        raise CheckpointError(
            f"{adapter.file}: {min(found)} was trained for itself, but in {headers.path} it is the embedding table and"
            " the head; save the model without tie_word_embeddings first."
        )


def _add(tensors: dict[str, Tensor], module: str, adapter: PeftAdapter, *, transposed: bool) -> None:
    name, delta = f"{module}.weight", adapter.delta(module)
    weight, change = tensors[name], delta.b @ delta.a
    if transposed:
        change = change.T
    _check_shape(name, weight, change, adapter)
    merged = weight.to(torch.float32) + change
    if delta.magnitude is not None:
        rows = 1 if transposed else 0
        if delta.magnitude.shape != (merged.shape[rows],):
            raise CheckpointError(f"{adapter.file}: the magnitudes of {module} are not one for each of its outputs.")
        lengths = merged.norm(dim=1 - rows, keepdim=True)
        merged *= delta.magnitude.view_as(lengths) / lengths
    _put(tensors, name, merged, adapter)


def _put(tensors: dict[str, Tensor], name: str, tensor: Tensor, adapter: PeftAdapter) -> None:
    """In the type of what was there. Raises ``CheckpointError`` for what does not fit in its place."""
    weight = tensors[name]
    _check_shape(name, weight, tensor, adapter)
    if not tensor.to(weight.dtype).isfinite().all():
        raise CheckpointError(f"{adapter.file}: with it {name} is beyond what {weight.dtype} can hold.")
    tensors[name] = tensor.to(weight.dtype)


def _check_shape(name: str, weight: Tensor, given: Tensor, adapter: PeftAdapter) -> None:
    if weight.shape != given.shape or not weight.is_floating_point():
        raise CheckpointError(
            f"{adapter.file}: what it has for {name} is made for {list(given.shape)};"
            f" the model's tensor is {list(weight.shape)} of {weight.dtype}."
        )
