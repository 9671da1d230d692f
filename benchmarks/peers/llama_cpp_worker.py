"""llama.cpp as a worker process: a JSON line in, a JSON line out. Runs in the Python of .venv-peers, without llmrt.

    load     path, context (tokens of a sequence), sequences, threads, kv (f16 or q8_0)
    measure  prompt, gen, depth, batch: each of ``batch`` sequences gets ``depth`` random tokens of which nothing is
             computed, then ``prompt`` tokens (timed: prefill), then ``gen`` greedy ones (timed: decode)
    unload, quantize (path, to), info

It goes through llama_decode, as llama-bench does, with batches and micro-batches of 512 tokens and flash attention.
"""

from __future__ import annotations

import ctypes
import os
import random
import time
from importlib.metadata import version
from typing import Any

import llama_cpp as lib
import numpy as np
from answering import answer
from gguf import GGUFReader
from kv_state import tiled_state

BATCH = 512
KV_TYPES = {"f16": lib.GGML_TYPE_F16, "q8_0": lib.GGML_TYPE_Q8_0}
_SAMPLE_TOKENS = 64  # computed once a load; deeper caches repeat their keys and values


class Worker:
    """One loaded model at a time."""

    def __init__(self) -> None:
        self._silence = lib.llama_log_callback(lambda level, text, data: None)
        lib.llama_log_set(self._silence, ctypes.c_void_p(0))
        lib.llama_backend_init()
        self._draw = random.Random(0)
        self._model: Any = None
        self._context: Any = None

    def info(self) -> dict[str, Any]:
        """What is running."""
        return {
            "engine": "llama.cpp",
            "version": f"llama-cpp-python {version('llama-cpp-python')}",
            "build": lib.llama_print_system_info().decode().strip(),
        }

    def load(self, path: str, context: int, sequences: int, threads: int, kv: str) -> dict[str, Any]:
        """Open the file and make a context."""
        start = time.perf_counter()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
        self._model = lib.llama_model_load_from_file(path.encode(), params)
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        settings = lib.llama_context_default_params()
        settings.n_ctx = -(-context // 256) * 256 * sequences
        settings.n_batch = settings.n_ubatch = BATCH
        settings.n_seq_max = sequences
        settings.n_threads = settings.n_threads_batch = threads
        settings.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
        settings.type_k = settings.type_v = KV_TYPES[kv]
        self._context = lib.llama_init_from_model(self._model, settings)
        if not self._context:
            raise RuntimeError(f"llama.cpp has no room for {sequences} x {context} tokens")
        self._vocab_size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self._model))
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "file_bytes": os.path.getsize(path), "read_bytes": read_bytes(path)}

    def unload(self) -> dict[str, Any]:
        """Free it."""
        if self._context:
            lib.llama_free(self._context)
        if self._model:
            lib.llama_model_free(self._model)
        self._context = self._model = None
        return {}

    def quantize(self, path: str, to: str) -> dict[str, Any]:
        """Write the model as Q4_0 with llama.cpp's own quantizer."""
        params = lib.llama_model_quantize_default_params()
        params.ftype = lib.LLAMA_FTYPE_MOSTLY_Q4_0
        params.allow_requantize = True
        if lib.llama_model_quantize(path.encode(), to.encode(), ctypes.byref(params)) != 0:
            raise RuntimeError(f"llama.cpp cannot quantize {path}")
        return {"bytes": os.path.getsize(to)}

    def measure(self, prompt: int, gen: int, depth: int, batch: int) -> dict[str, Any]:
        """Rates in tokens a second over all sequences; None where there is nothing to time."""
        self._fill(depth, batch)
        start = time.perf_counter()
        tokens = [self._prefill(sequence, depth, prompt) for sequence in range(batch)]
        first = time.perf_counter()
        for step in range(gen - 1):  # the first token came out of the prefill
            tokens = self._step(tokens, depth + prompt + step)
        last = time.perf_counter()
        return {
            "prefill_rate": batch * prompt / (first - start),
            "decode_rate": batch * (gen - 1) / (last - first) if gen > 1 else None,
        }

    def _fill(self, depth: int, batch: int) -> None:
        memory = lib.llama_get_memory(self._context)
        lib.llama_memory_clear(memory, False)
        if not depth:
            return
        self._prefill(0, 0, _SAMPLE_TOKENS)
        sample = (ctypes.c_uint8 * lib.llama_state_seq_get_size(self._context, 0))()
        lib.llama_state_seq_get_data(self._context, sample, len(sample), 0)
        lib.llama_memory_clear(memory, False)
        state = tiled_state(bytes(sample), _SAMPLE_TOKENS, depth)
        source = (ctypes.c_uint8 * len(state)).from_buffer(state)
        for sequence in range(batch):
            if lib.llama_state_seq_set_data(self._context, source, len(state), sequence) == 0:
                raise RuntimeError(f"llama.cpp did not take a state of {depth} tokens")
            if lib.llama_memory_seq_pos_max(memory, sequence) != depth - 1:
                raise RuntimeError(f"llama.cpp holds another depth than {depth}")

    def _prefill(self, sequence: int, position: int, count: int) -> int:
        tokens = self._draw.choices(range(self._vocab_size), k=count)
        for start in range(0, count, BATCH):
            part = tokens[start : start + BATCH]
            ends = start + len(part) == count
            at = range(position + start, position + start + len(part))
            wanted = [ends and p == at[-1] for p in at]
            self._decode(part, at, [sequence] * len(part), wanted)
        return self._argmax(-1)

    def _step(self, tokens: list[int], position: int) -> list[int]:
        count = len(tokens)
        self._decode(tokens, [position] * count, range(count), [True] * count)
        return [self._argmax(row) for row in range(count)]

    def _decode(self, tokens: Any, positions: Any, sequences: Any, wanted: Any) -> None:
        batch = lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, (token, position, sequence, logits) in enumerate(zip(tokens, positions, sequences, wanted, strict=True)):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, logits
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        status = lib.llama_decode(self._context, batch)
        lib.llama_batch_free(batch)
        if status != 0:
            raise RuntimeError(f"llama_decode: {status}")

    def _argmax(self, row: int) -> int:
        logits = lib.llama_get_logits_ith(self._context, row)
        return int(np.ctypeslib.as_array(logits, (self._vocab_size,)).argmax())


def read_bytes(path: str) -> int:
    """Bytes of weights that one decoded token reads: the chosen experts, and the embedding table as the head alone."""
    reader = GGUFReader(path)
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in reader.tensors}
    if "output.weight" in sizes:
        del sizes["token_embd.weight"]
    used, there = (reader.get_field(f"llama.expert_{name}") for name in ("used_count", "count"))
    if there is not None and used is not None:
        part = used.contents() / there.contents()
        sizes = {name: size * part if "exps" in name else size for name, size in sizes.items()}
    return int(sum(sizes.values()))


if __name__ == "__main__":
    answer(Worker())
