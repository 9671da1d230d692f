"""Which type llama.cpp's quantizer (llama-quant.cpp) gives each tensor of a file, without an importance matrix."""

from __future__ import annotations

from collections.abc import Callable

from gguf import GGML_QUANT_SIZES, LlamaFileType
from gguf import GGMLQuantizationType as Kind

from llmrt.model.checkpoints.tensor_slots import Slot
from llmrt.model.config import ModelConfig

# A kind of file, by the name that people know: what the header calls it, and the type of most matrices.
FILE_TYPES = {
    "Q4_0": (LlamaFileType.MOSTLY_Q4_0, Kind.Q4_0),
    "Q3_K_M": (LlamaFileType.MOSTLY_Q3_K_M, Kind.Q3_K),
    "IQ4_XS": (LlamaFileType.MOSTLY_IQ4_XS, Kind.IQ4_XS),
    "Q4_K_M": (LlamaFileType.MOSTLY_Q4_K_M, Kind.Q4_K),
    "Q5_K_M": (LlamaFileType.MOSTLY_Q5_K_M, Kind.Q5_K),
    "Q8_0": (LlamaFileType.MOSTLY_Q8_0, Kind.Q8_0),
    "F16": (LlamaFileType.MOSTLY_F16, Kind.F16),
    "BF16": (LlamaFileType.MOSTLY_BF16, Kind.BF16),
}


# By what llama.cpp counts as such: the roles of matrices of which some files hold a few with more bits.
_CATEGORIES = {"v": "v", "attention_output": "output", "down": "down", "expert_down": "down"}


def kind_of(name: str, slot: Slot, config: ModelConfig, file_type: str) -> Kind:
    """The type of tensor ``name`` in a file of ``file_type``."""
    kind = FILE_TYPES[file_type][1]
    if slot.role is None:
        return Kind.F32  # norms and the router
    if kind in (Kind.Q8_0, Kind.F16, Kind.BF16):
        return kind
    if slot.role == "lm_head" or (slot.role == "embedding" and config.tied_embeddings):
        return Kind.Q6_K if slot.shape[-1] % GGML_QUANT_SIZES[Kind.Q6_K][0] == 0 else Kind.Q8_0
    raised = None
    if slot.role in _CATEGORIES and file_type in _RAISED:
        raised = _RAISED[file_type](_CATEGORIES[slot.role], int(name.split(".")[1]), config)
    if config.moe is not None and config.moe.num_experts == 8:
        raised = _of_eight_experts(slot.role, file_type) or raised
    return raised or kind


def _of_eight_experts(role: str, file_type: str) -> Kind | None:
    if role in ("k", "v"):
        return Kind.Q8_0
    return Kind.Q5_K if role == "attention_output" and file_type in ("Q3_K_M", "IQ4_XS", "Q4_K_M") else None


def _half_to_q6_k(category: str, layer: int, config: ModelConfig) -> Kind | None:
    """The first eighth of the layers, the last one, and every third between them."""
    eighth = config.num_layers // 8
    more = layer < eighth or layer >= 7 * config.num_layers // 8 or (layer - eighth) % 3 == 2
    return Kind.Q6_K if more and category != "output" else None


def _q3_k_m(category: str, layer: int, config: ModelConfig) -> Kind:
    first = {"v": 2, "output": 0, "down": config.num_layers // 16}[category]
    return Kind.Q5_K if layer < first else Kind.Q4_K


def _iq4_xs(category: str, layer: int, config: ModelConfig) -> Kind | None:
    more = {
        "v": config.num_heads >= 4 * config.num_kv_heads,
        "output": False,
        "down": layer < config.num_layers // 8,
    }
    return Kind.Q5_K if more[category] else None


# By the kind of file: the type that a matrix of a category gets in a layer instead of the kind's own.
_RAISED: dict[str, Callable[[str, int, ModelConfig], Kind | None]] = {
    "Q4_K_M": _half_to_q6_k,
    "Q5_K_M": _half_to_q6_k,
    "Q3_K_M": _q3_k_m,
    "IQ4_XS": _iq4_xs,
}
