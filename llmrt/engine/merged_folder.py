"""A model with a LoRA adapter in its weights as a folder: W + b a, each matrix in the type that it is stored in."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmrt.engine.quantized_folder import new_folder
from llmrt.errors import CheckpointError
from llmrt.model.peft_adapter import PeftAdapter
from llmrt.model.safetensors_headers import SafetensorsHeaders

_LEFT_OUT = ("*.bin", "*.pth", "*.pt", "*.gguf", "*.safetensors")  # weights in other forms would be those of before


def write_merged(source: Path, adapter_folder: Path, output: Path) -> None:
    """Write the folder ``output``, whole or not at all; memory holds one file of weights.

    Raises ``CheckpointError`` for a model or an adapter that cannot be merged, ``DownloadError`` for a full disk.
    """
    adapter = PeftAdapter(adapter_folder)
    if not source.is_dir():
        raise CheckpointError(f"{source} is no folder of safetensors; only those can be merged with an adapter.")
    headers = SafetensorsHeaders(source)
    left = set(adapter.modules)
    with new_folder(output) as scratch:
        shutil.copytree(source, scratch, ignore=shutil.ignore_patterns(*_LEFT_OUT), dirs_exist_ok=True)
        for file in sorted({stored.file for stored in headers.inventory.values()}):
            tensors = load_file(file)
            for module in [module for module in adapter.modules if f"{module}.weight" in tensors]:
                _add(tensors, module, adapter, transposed=headers.names.transposed)
                left.remove(module)
            save_file(tensors, scratch / file.name, metadata={"format": "pt"})
        if left:
            raise CheckpointError(f"{adapter.file}: the adapted module {min(left)} has no weight in {source}.")


def _add(tensors: dict[str, Tensor], module: str, adapter: PeftAdapter, *, transposed: bool) -> None:
    name, delta = f"{module}.weight", adapter.delta(module)
    weight, change = tensors[name], delta.b @ delta.a
    if transposed:
        change = change.T
    if weight.shape != change.shape or not weight.is_floating_point():
        raise CheckpointError(
            f"{adapter.file}: the adapted module {module} is made for {list(change.shape)};"
            f" the model's tensor {name} is {list(weight.shape)} of {weight.dtype}."
        )
    merged = weight.to(torch.float32) + change
    if not merged.to(weight.dtype).isfinite().all():
        raise CheckpointError(f"{adapter.file}: with it {name} is beyond what {weight.dtype} can hold.")
    tensors[name] = merged.to(weight.dtype)
