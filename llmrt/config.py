"""Configuration, resolved once and then frozen. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# Of weights: as the files have them, codes where they have codes.
STORED = "stored"


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What the person who starts an engine may choose; None and "auto" leave the choice to the engine.

    ``context_length`` tokens of prompt and answer together; ``quant`` of the weights, "stored" as they are,
    "none" in floats, "int8", "int4" or "auto";
    ``calibration`` the tokens of a text that the weights are rounded for, None for random ones;
    ``dtype`` of activations and of weights that are not quantized, and ``kv_dtype`` of the KV cache, each "auto",
    "fp32", "bf16" or "fp16", the latter "int8" or "fp8" too; ``device`` "auto", "cpu", "cuda" or "cuda:N";
    ``gpu_memory`` that may be used there, a fraction of what is free or, above 1, gigabytes; ``graphs`` of decode steps
    there; ``threads`` of the processor; ``max_num_seqs`` requests computed side by side;
    ``speculate`` "off", "ngram" or "auto", which is "ngram" where that is possible, or ``draft_model``, a path;
    ``max_num_batched_tokens`` in one step; ``block_size`` tokens in a KV block; ``disk_cache`` bytes that the prefixes
    of all models may have on disk together, 0 for none; ``adapters`` the LoRA adapters that it begins with, each a name
    and a folder.
    """

    context_length: int | None = None
    dtype: str = "auto"
    kv_dtype: str = "auto"
    quant: str = STORED
    calibration: tuple[int, ...] | None = None
    device: str = "auto"
    gpu_memory: float | None = None
    graphs: bool = True
    threads: int | None = None
    speculate: str = "off"
    draft_model: str | None = None
    max_num_seqs: int = 8
    max_num_batched_tokens: int = 512
    block_size: int = 64
    prefix_caching: bool = True
    disk_cache: int = 0
    adapters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What the person who starts a server may choose of its HTTP side; 0 is no limit where seconds are one.

    ``ping_seconds`` between comment lines in a silent stream, 0 for none; ``max_open_requests`` that may wait or be
    computed, beyond which the answer is 429; ``max_body_mb``, megabytes of a request's body, beyond which it is 413;
    ``request_seconds`` that an answer may take, beyond which it ends with an error; ``stall_seconds`` that a client may
    leave a stream unread, beyond which it is closed; ``drain_seconds`` that open answers get on shutdown;
    ``api_keys`` of which a client must send one, or one of ``api_key_file``, none for a server that is open;
    ``admin_keys`` of which one must be sent to load and unload adapters, without any of which nobody may;
    ``cors_origins`` whose web pages may use it, "*" for all;
    ``trusted_proxies`` whose word is taken for a client's address;
    ``keep_alive_seconds`` that a model stays loaded after its last answer, 0 until another needs the memory;
    ``log_prompts``, which else are nobody's business.
    """

    ping_seconds: float = 5.0
    max_open_requests: int = 1024
    max_body_mb: float = 16.0
    request_seconds: float = 0.0
    stall_seconds: float = 60.0
    drain_seconds: float = 8.0
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    api_key_file: Path | None = None
    admin_keys: tuple[str, ...] = field(default=(), repr=False)
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    keep_alive_seconds: float = 0.0
    log_prompts: bool = False
