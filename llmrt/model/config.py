"""What a decoder looks like, as numbers. Free of torch.

One decoder serves every family; what a family has and others lack is optional data here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LinearScaling:
    """Positions divided by ``factor``."""

    factor: float


@dataclass(frozen=True)
class Llama3Scaling:
    """Low frequencies divided by ``factor``, high ones kept, those between blended (Llama 3.1)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int


@dataclass(frozen=True)
class YarnScaling:
    """YaRN (https://arxiv.org/abs/2309.00071): a ramp over the dimensions between both, and scaled attention."""

    factor: float
    original_context: int
    attention_factor: float
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True


@dataclass(frozen=True)
class DynamicScaling:
    """Dynamic NTK: a base that grows with the length of the sequence.

    Here the length is the engine's context, so that what is cached agrees with what is computed anew.
    """

    factor: float
    original_context: int


@dataclass(frozen=True)
class FrequencyDivisors:
    """Each frequency divided by its own number, as GGUF files spell any scaling that was resolved beforehand."""

    divisors: tuple[float, ...]


@dataclass(frozen=True)
class LongRopeScaling:
    """LongRoPE (https://arxiv.org/abs/2402.13753): divisors of each frequency, others for contexts past the original.

    Which ones is decided by the engine's context, as for ``DynamicScaling``.
    """

    short: tuple[float, ...]
    long: tuple[float, ...]
    original_context: int
    attention_factor: float


RopeScaling = LinearScaling | Llama3Scaling | YarnScaling | DynamicScaling | LongRopeScaling | FrequencyDivisors


@dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding of base ``theta``, with the scaling that stretches it, if any.

    ``rotary_dim`` of a head's dimensions are rotated, None for all, and the others stay as they are.
    """

    theta: float = 10000.0
    scaling: RopeScaling | None = None
    rotary_dim: int | None = None


@dataclass(frozen=True)
class MoeConfig:
    """``num_active`` of ``num_experts`` MLPs, each of ``intermediate_size``, are used for a token.

    Their probabilities are the weights of their sum, divided by the sum of those that are used if ``renormalize``.
    Every token passes through an MLP of ``shared_size`` too if that is not 0, weighed by a gate of its own.
    ``dense_layers`` have the plain MLP.
    """

    num_experts: int
    num_active: int
    intermediate_size: int
    renormalize: bool = True
    shared_size: int = 0
    dense_layers: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The decoder's shape. ``context_length`` is the longest sequence that the model was made for.

    Layers other than ``full_attention_layers`` look through ``sliding_window`` if there is one, and have ``local_rope``
    if that is not None. ALiBi (https://arxiv.org/abs/2108.12409) adds ``alibi_slopes`` of its head times the key's
    position to a score.

    Embeddings are multiplied by ``embedding_scale``, vectors of positions are added with ``learned_positions``, and the
    sum is normalised with ``embedding_norm``.

    A layer: x = norm(stream), or the stream itself without ``pre_norms``; stream += attention(x); so with the MLP.
    With ``post_norms`` what is added is normalised first, and it is multiplied by ``residual_scale``. With
    ``parallel_residual`` the MLP reads the stream that attention read, and the same x with ``shared_norm``. Norms are
    RMSNorm, or with ``layer_norm`` LayerNorm, with a bias if ``norm_bias``.

    An MLP: down(activation(gate(x)) * up(x)), or down(activation(up(x))) if it is not ``gated_mlp``.

    Scores of attention are multiplied by ``attention_scale``, D^-0.5 if that is None. A cap c that is not 0 makes
    c tanh(y / c) of scores or logits. ``qk_norm`` is of each head, or of all heads at once with ``qk_norm_of_rows``;
    with ``qk_layer_norm`` it is a LayerNorm without a bias, each head's by weights of its own.
    """

    family: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    norm_eps: float
    context_length: int
    rope: RopeConfig = RopeConfig()
    local_rope: RopeConfig | None = None
    alibi_slopes: tuple[float, ...] = ()
    learned_positions: bool = False
    embedding_norm: bool = False
    layer_norm: bool = False
    norm_bias: bool = True
    pre_norms: bool = True
    post_norms: bool = False
    parallel_residual: bool = False
    shared_norm: bool = False
    activation: str = "silu"
    gated_mlp: bool = True
    sliding_window: int | None = None
    full_attention_layers: tuple[int, ...] = ()
    moe: MoeConfig | None = None
    tied_embeddings: bool = False
    lm_head_bias: bool = False
    attention_scale: float | None = None
    attention_cap: float = 0.0
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logits_scale: float = 1.0
    logits_cap: float = 0.0
    qk_norm: bool = False
    qk_norm_of_rows: bool = False
    qk_layer_norm: bool = False
    qkv_bias: bool = False
    attention_output_bias: bool = False
    mlp_bias: bool = False
    dtype: str = "bf16"

    @property
    def max_context_length(self) -> int:
        """The longest context that may be asked for; dynamic NTK stretches past what the model was made for."""
        scaling = self.rope.scaling
        stretch = scaling.factor if isinstance(scaling, DynamicScaling) else 1.0
        return int(self.context_length * stretch)

    def granule_on(self, device: str) -> int:
        """What divides every size of the model, and what kernels there rotate at a time: half a head on a CPU."""
        head = self.head_dim // 2 if device == "cpu" else self.head_dim
        moe = self.moe
        experts = (moe.intermediate_size, moe.shared_size) if moe else ()
        return math.gcd(self.hidden_size, self.intermediate_size, head, *experts)

    @property
    def cache_window(self) -> int | None:
        """How many tokens back any layer looks, None if one looks back to the first."""
        return None if self.full_attention_layers else self.sliding_window

    def window_of(self, layer: int) -> int | None:
        """The sliding window of a layer, None if it sees everything."""
        return None if layer in self.full_attention_layers else self.sliding_window

    def rope_of(self, layer: int) -> RopeConfig:
        """How a layer rotates."""
        return self.rope if self.local_rope is None or layer in self.full_attention_layers else self.local_rope

    @property
    def rotary_dim(self) -> int:
        """How many of a head's dimensions are rotated, in the layers that rotate most."""
        ropes = (self.rope,) if self.local_rope is None else (self.rope, self.local_rope)
        return max(self.head_dim if rope.rotary_dim is None else rope.rotary_dim for rope in ropes)

    def moe_of(self, layer: int) -> MoeConfig | None:
        """The experts of a layer, None if it has the plain MLP."""
        return None if self.moe is None or layer in self.moe.dense_layers else self.moe

    def kv_values_per_token(self) -> int:
        """Numbers that one token adds to the KV cache, over all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim
