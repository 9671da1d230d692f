"""A LoRA adapter as peft saves it: adapter_config.json, and adapter_model.safetensors with two matrices a module.

    base_model.model.<module>.lora_A.weight  a [r, K]
    base_model.model.<module>.lora_B.weight  b [N, r]
    base_model.model.<module>.lora_magnitude_vector  [N], with DoRA
    base_model.model.<module>.weight, .bias  what replaces a module's own, with modules_to_save

A module is called as the published safetensors of its model call it, whatever file the model itself is loaded from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from llmrt.errors import CheckpointError
from llmrt.hub.paths import check_files, is_there
from llmrt.model.adapters.peft_config import CONFIG, PeftConfig, read_peft_config
from llmrt.model.checkpoints.safetensors.checkpoint import FLOATS

FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_TENSOR = re.compile(r"base_model\.model\.(?P<module>[\w.]+)\.lora_(?P<part>[AB]\.weight|magnitude_vector)", re.ASCII)
_HALVES, _MAGNITUDE = ("A.weight", "B.weight"), "magnitude_vector"


@dataclass(frozen=True)
class ModuleDelta:
    """b (a x) is added to what the ``module`` makes of x: a [r, K], b [N, r] with the scale in it, both fp32.

    With ``magnitude`` [N], rows of the sum have these lengths.
    """

    module: str
    a: Tensor
    b: Tensor
    magnitude: Tensor | None = None


class PeftAdapter:
    """The adapter in ``folder``, its names and ranks checked. Raises ``CheckpointError`` naming file and tensor.

    With ``merging``, it may be of a kind that can only be written into a model's weights.
    """

    def __init__(self, folder: Path, *, merging: bool = False) -> None:
        self.file = folder / FILE
        with _readable(folder):
            _check_there(folder)
            self.num_bytes = self.file.stat().st_size
        self._config = read_peft_config(folder, merging=merging)
        names = self._tensor_names()
        self._whole = {name.removeprefix(_PREFIX): name for name in names if _is_whole(name, self._config)}
        self._names = _parts(self.file, [name for name in names if name not in self._whole.values()], self._config)

    @property
    def modules(self) -> list[str]:
        """Those that it changes, in the order of their names."""
        return sorted(self._names)

    def delta(self, module: str) -> ModuleDelta:
        """What one of them changes. Raises ``CheckpointError`` for a tensor that is misshapen or not finite."""
        with _open(self.file) as file:
            a, b, *magnitude = (self._load(file, name) for name in self._names[module])
        for tensor, axis, name in zip((a, b), (0, 1), self._names[module], strict=False):
            self._check_rank(tensor, axis, name, module)
        return ModuleDelta(module, a, b * self._config.scale_of(module), *magnitude)

    @property
    def whole(self) -> list[str]:
        """The tensors that it replaces."""
        return sorted(self._whole)

    def whole_tensor(self, name: str) -> Tensor:
        """What replaces one of them, in fp32. Raises ``CheckpointError`` for one that is not finite."""
        with _open(self.file) as file:
            return self._load(file, self._whole[name])

    def digest(self) -> bytes:
        """Names what the adapter computes: equal for equal files alone. Raises ``CheckpointError``."""
        digest = blake2b(digest_size=16)
        for path in (self.file, self.file.with_name(CONFIG)):
            with _readable(path), path.open("rb") as file:
                digest.update(path.stat().st_size.to_bytes(8, "little"))
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        return digest.digest()

    def _tensor_names(self) -> list[str]:
        with _open(self.file) as file:
            return list(file.keys())

    def _load(self, file: safe_open, name: str) -> Tensor:
        tensor = file.get_tensor(name)
        if tensor.dtype not in FLOATS:
            raise self._fault(name, f"is of type {tensor.dtype}; supported are fp32, bf16, fp16")
        low, high = torch.aminmax(tensor)
        if not (math.isfinite(low.item()) and math.isfinite(high.item())):
            raise self._fault(name, "holds NaN or infinity")
        return tensor.float()

    def _check_rank(self, tensor: Tensor, axis: int, name: str, module: str) -> None:
        rank = self._config.rank_of(module)
        if tensor.dim() != 2 or tensor.shape[axis] != rank:
            raise self._fault(name, f"has shape {list(tensor.shape)}, but {CONFIG} gives it rank {rank}")

    def _fault(self, name: str, fault: str) -> CheckpointError:
        return CheckpointError(f"{self.file}: tensor {name} {fault}.")


@contextmanager
def _readable(path: Path) -> Generator[None]:
    """What the system refuses of ``path`` is one line."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error


def _check_there(folder: Path) -> None:
    if is_there(folder / FILE):
        return check_files(folder)
    if (folder / "adapter_model.bin").exists():
        raise CheckpointError(
            f"{folder} has its adapter in adapter_model.bin only. That is a pickle, and loading a pickle can run any"
            " code it contains; save it with peft again, in safetensors."
        )
    lack = f"it has no {FILE}" if folder.is_dir() else "there is no such folder"
    raise CheckpointError(
        f"{folder} is no LoRA adapter: {lack}; name a folder that peft saved, with {CONFIG} and {FILE}."
    )


def _open(file: Path) -> safe_open:
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file} is truncated or not a safetensors file: {error}.") from None


def _is_whole(name: str, config: PeftConfig) -> bool:
    module, _, _ = name.removeprefix(_PREFIX).rpartition(".")
    return name.startswith(_PREFIX) and ".lora_" not in name and config.is_whole(module)


def _parts(file: Path, names: list[str], config: PeftConfig) -> dict[str, tuple[str, ...]]:
    """The tensors of a, b and magnitude of each module, and every target with a module at least."""
    parts: dict[str, dict[str, str]] = {}
    for name in sorted(names):
        match = _TENSOR.fullmatch(name)
        if match is None or (match["part"] == _MAGNITUDE and not config.magnitudes):
            raise CheckpointError(f"{file}: tensor {name!r} is not one of a LoRA matrix; only those are supported.")
        parts.setdefault(match["module"], {})[match["part"]] = name
    wanted = (*_HALVES, _MAGNITUDE) if config.magnitudes else _HALVES
    for module, found in parts.items():
        first = min(found.values())
        if len(found) < len(wanted):
            raise CheckpointError(f"{file}: tensor {first} is there without its other half.")
        if not config.is_target(module):
            raise CheckpointError(f"{file}: tensor {first} is there, but {CONFIG} has no such target_modules.")
    for target in config.targets:
        if not any(module == target or module.endswith(f".{target}") for module in parts):
            raise CheckpointError(f"{file}: {CONFIG} has {target!r} in target_modules, but no tensor is of it.")
    return {module: tuple(found[part] for part in wanted) for module, found in parts.items()}
