"""A folder as it is published: config.json, and safetensors in one file or in shards with an index."""

from __future__ import annotations

import torch
from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.model.parts import part_of
from llmrt.model.safetensors_headers import SafetensorsHeaders, open_shard

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


class SafetensorsCheckpoint(SafetensorsHeaders):
    """The model in a folder.

    Each file is mapped anew for each tensor, so that pages which have been read do not pile up.
    """

    def load(self, name: str) -> Tensor:
        """One tensor, of fp32, bf16 or fp16; raises ``CheckpointError`` for another type."""
        stored = self.inventory[name]
        file, part = stored.file, stored.part
        with open_shard(file, "pt") as shard:
            tensor = shard.get_tensor(name) if part is None else part_of(shard.get_tensor(part.tensor), part)
        if tensor.dtype not in FLOATS:
            raise CheckpointError(f"{file}: tensor {name} is of type {tensor.dtype}; supported are fp32, bf16, fp16.")
        return tensor

    def load_codes(self, name: str) -> None:
        """There are none."""
