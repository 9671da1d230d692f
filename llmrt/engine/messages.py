"""The records that cross the border of the engine process, one frame a record. Free of torch and of pickle.

To the engine: ``Start`` once, then ``Submit`` and ``Abort``, ``LoadAdapter`` and ``UnloadAdapter``. From it: ``Ready``
or ``Failed`` once, then one ``Outputs`` for each step that produced something or changed the engine's state, or as a
sign of life after a silent one, and one ``AdaptersChanged`` for each adapter that was to come or go, in that order;
``Compiling`` where that takes long, before the model is ready or an adapter has come.
Closing the socket ends the engine.
"""

from __future__ import annotations

import msgspec

from llmrt.config import EngineConfig
from llmrt.engine.request import Pooling, RequestOutput, SamplingParams
from llmrt.engine.stats import EngineStats


class Start(msgspec.Struct, tag=True, frozen=True):
    """Load the model at ``model_path`` and begin."""

    model_path: str
    config: EngineConfig


class Submit(msgspec.Struct, tag=True, frozen=True):
    """Answer ``token_ids``; with ``pooling``, by their vector alone, whatever the ``params``.

    ``adapter`` is the name of the LoRA adapter that answers, if one does.
    """

    request_id: str
    token_ids: list[int]
    params: SamplingParams
    pooling: Pooling | None = None
    adapter: str | None = None


class Abort(msgspec.Struct, tag=True, frozen=True):
    """Nobody waits for this request any more."""

    request_id: str


class LoadAdapter(msgspec.Struct, tag=True, frozen=True):
    """Take requests for the LoRA adapter in the folder ``path``."""

    name: str
    path: str


class UnloadAdapter(msgspec.Struct, tag=True, frozen=True):
    """Take no more requests for it."""

    name: str


class AdaptersChanged(msgspec.Struct, tag=True, frozen=True):
    """It was done, or the ``error`` is the line that says what to change."""

    error: str | None = None


class Compiling(msgspec.Struct, tag=True, frozen=True):
    """So many kernels are to be compiled before it goes on, which takes longer than reading them from disk."""

    num_kernels: int


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The model is loaded. ``notices`` are lines for the person who started the engine."""

    context_length: int
    vocab_size: int
    embedding_size: int
    notices: list[str] = []


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The engine could not start; ``message`` is the one line that says what to change.

    ``needs_memory``: with more of it free, it could.
    """

    message: str
    needs_memory: bool = False


class Outputs(msgspec.Struct, tag=True, frozen=True):
    """What one step gave to each request that got something; now and then the engine's state and new notices."""

    outputs: list[RequestOutput]
    stats: EngineStats | None = None
    notices: list[str] = []


ToEngine = Start | Submit | Abort | LoadAdapter | UnloadAdapter
FromEngine = Ready | Failed | Outputs | AdaptersChanged | Compiling
