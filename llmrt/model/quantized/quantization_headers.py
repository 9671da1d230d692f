"""What a folder's quantization_config says, whichever tool wrote it. Free of torch."""

from __future__ import annotations

from pathlib import Path

from llmrt.errors import CheckpointError
from llmrt.model.fields import Fields
from llmrt.model.quantized.bitsandbytes_headers import read_bitsandbytes
from llmrt.model.quantized.compressed_headers import read_compressed
from llmrt.model.quantized.grouped_headers import read_awq, read_gptq
from llmrt.model.quantized.matrix import Quantization
from llmrt.model.quantized.scaled_headers import read_fp8, read_mistral

METHODS = {
    "gptq": read_gptq,
    "awq": read_awq,
    "compressed-tensors": read_compressed,
    "bitsandbytes": read_bitsandbytes,
    "fp8": read_fp8,
    "fbgemm_fp8": read_fp8,
}
# The files of tools that were there before config.json had a field for it.
OLDER = {"quantize_config.json": read_gptq, "quant_config.json": read_awq}


def read_quantization(folder: Path, fields: Fields) -> Quantization | None:
    """How the matrices in ``folder``, whose config.json has ``fields``, are quantized, None if they are not.

    Raises ``CheckpointError`` for a method that is not supported, or numbers of it that are not.
    """
    for name in ("quantization_config", "compression_config"):
        if (said := fields.inside(name)) is not None:
            return _read(said)
    if (said := fields.inside("quantization")) is not None:
        return read_mistral(said)
    for name, read in OLDER.items():
        if (folder / name).is_file():
            return read(Fields.from_file(folder / name))
    return None


def _read(said: Fields) -> Quantization:
    method = said.get("quant_method", str, "")
    if method not in METHODS:
        raise CheckpointError(
            f"{said.where}: quant_method is {method!r}; supported are {', '.join(METHODS)}, so use a copy of the model"
            " that is quantized by one of them, or not at all."
        )
    return METHODS[method](said)
