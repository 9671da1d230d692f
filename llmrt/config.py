"""Configuration, resolved once and then frozen. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

# Weights as the files have them: in codes where these are, else in floats.
STORED = "stored"
# Most tokens of a step unless chosen; the second on large GPUs that compute so many at a higher rate each.
STEP_TOKENS, LARGE_STEP_TOKENS = 512, 2048


class DtypeName(StrEnum):
    """Number formats of weights and activations."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class KvDtypeName(StrEnum):
    """Number formats of the KV cache."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"
    int8 = "int8"
    fp8 = "fp8"


class QuantName(StrEnum):
    """Formats of the weights: as they are stored, in floats, quantized anew, or auto, which chooses."""

    stored = "stored"
    none = "none"
    int8 = "int8"
    int4 = "int4"
    auto = "auto"


class SpeculateName(StrEnum):
    """What guesses tokens, several of which are verified at once."""

    auto = "auto"
    ngram = "ngram"
    off = "off"


# How torch, vLLM and llama.cpp spell number formats.
_DTYPES_ELSEWHERE = {
    "fp32": "f32 float32 float",
    "bf16": "bfloat16",
    "fp16": "f16 float16 half",
    "fp8": "fp8_e4m3 float8_e4m3fn",
}
_CHOICES = {
    **{str(choice): str(choice) for choice in (*DtypeName, *KvDtypeName, *QuantName, *SpeculateName)},
    **{name: here for here, others in _DTYPES_ELSEWHERE.items() for name in others.split()},
}


def choice_here(name: str) -> str:
    """What a choice spelt in capitals or as elsewhere, such as "torch.bfloat16", is called here; else itself."""
    return _CHOICES.get(name.lower().removeprefix("torch."), name)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What the person who starts an engine may choose; None and "auto" leave the choice to the engine."""

    context_length: int | None = None  # tokens of a prompt and its answer together
    dtype: str = "auto"  # of activations and of weights that are not quantized: "fp32", "bf16" or "fp16"
    kv_dtype: str = "auto"  # of the KV cache: one of those, "int8" or "fp8"
    quant: str = STORED  # of the weights: "stored" as they are, "none" in floats, "int8" or "int4"
    calibration: tuple[int, ...] | None = None  # the text that weights are rounded for; None for random tokens
    device: str = "auto"  # "cpu", "cuda" or "cuda:N"
    gpu_memory: float | None = None  # that may be used: a fraction of what is free or, above 1, gigabytes
    graphs: bool = True  # of decode steps, on a GPU
    threads: int | None = None  # of the processor
    speculate: str = "off"  # what guesses tokens: "ngram", or "auto", which is "ngram" where that is possible
    draft_model: str | None = None  # the path of a model that guesses them instead
    max_num_seqs: int = 8  # requests computed side by side
    max_num_batched_tokens: int | None = None  # in one step; None for STEP_TOKENS, more on some GPUs
    block_size: int = 64  # tokens in a KV block
    prefix_caching: bool = True
    disk_cache: int = 0  # bytes that the prefixes of all models may have on disk together; 0 for none
    adapters: tuple[tuple[str, str], ...] = ()  # LoRA adapters to begin with, each a name and a folder

    @property
    def step_tokens(self) -> int:
        """Most tokens of a step."""
        return STEP_TOKENS if self.max_num_batched_tokens is None else self.max_num_batched_tokens


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What the person who starts a server may choose of its HTTP side; 0 seconds are no limit unless said otherwise."""

    ping_seconds: float = 5.0  # between comment lines in a silent stream; 0 for none
    max_open_requests: int = 1024  # that may wait or be computed; more are answered with 429
    max_body_mb: float = 16.0  # megabytes of a request's body; a larger one is answered with 413
    request_seconds: float = 0.0  # that an answer may take, before it ends with an error
    stall_seconds: float = 60.0  # that a client may leave a stream unread, before it is closed
    drain_seconds: float = 8.0  # that open answers get when the server is stopped
    api_keys: tuple[str, ...] = field(default=(), repr=False)  # one of which clients must send
    api_key_file: Path | None = None  # more of them; without any key the server is open
    admin_keys: tuple[str, ...] = field(default=(), repr=False)  # for loading adapters; without one nobody may
    cors_origins: tuple[str, ...] = ()  # whose web pages may use the server; "*" for all
    trusted_proxies: tuple[str, ...] = ()  # whose word is taken for a client's address
    keep_alive_seconds: float = 0.0  # that an idle model stays loaded; 0 until another needs its memory
    log_prompts: bool = False

    @property
    def asks_keys(self) -> bool:
        """Whether clients must send a key."""
        return bool(self.api_keys) or self.api_key_file is not None
