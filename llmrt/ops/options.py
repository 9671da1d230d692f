"""What a model may have that not every kernel computes, in the words of messages. Free of torch."""

from __future__ import annotations

QK_NORM = "QK norm"
ROW_QK_NORM = "QK norm over all heads"
QK_LAYER_NORM = "LayerNorm of queries and keys"
UNDIVIDED_EXPERTS = "expert weights that are not renormalized"
SHARED_EXPERT = "shared experts"
LAYER_NORM = "LayerNorm"
POST_NORMS = "norms behind attention and MLP"
BARE_INPUTS = "products without a norm before them"
GELU = "GELU"
PLAIN_MLP = "MLPs without a gate"
CAPPED_ATTENTION = "soft caps in attention"
SCALED_LOGITS = "scaled or capped logits"
SCALED_EMBEDDING = "scaled embeddings"
SCALED_RESIDUAL = "scaled residuals"
LEARNED_POSITIONS = "learned positions"
EMBEDDING_NORM = "normalised embeddings"
ALIBI = "ALiBi"
LORA = "LoRA adapters"

# What the native kernels compute of it.
NATIVE_OPTIONS = frozenset(
    (
        *(QK_NORM, ROW_QK_NORM, QK_LAYER_NORM, UNDIVIDED_EXPERTS, SHARED_EXPERT, LAYER_NORM, POST_NORMS, BARE_INPUTS),
        *(GELU, PLAIN_MLP, CAPPED_ATTENTION, SCALED_LOGITS, SCALED_EMBEDDING, SCALED_RESIDUAL, LEARNED_POSITIONS),
        *(EMBEDDING_NORM, ALIBI, LORA),
    )
)

# What Triton's kernels compute of it.
TRITON_OPTIONS = frozenset(
    (
        *(QK_NORM, ROW_QK_NORM, QK_LAYER_NORM, UNDIVIDED_EXPERTS, SHARED_EXPERT, LAYER_NORM, POST_NORMS, BARE_INPUTS),
        *(GELU, PLAIN_MLP, CAPPED_ATTENTION, ALIBI, SCALED_LOGITS, SCALED_EMBEDDING, EMBEDDING_NORM),
        *(SCALED_RESIDUAL, LEARNED_POSITIONS),
    )
)


def options_refusal(lacking: frozenset[str]) -> str | None:
    """Why kernels do not serve a model that needs what they are ``lacking``; None if that is nothing."""
    return f"these kernels do not compute {' and '.join(sorted(lacking))}" if lacking else None
