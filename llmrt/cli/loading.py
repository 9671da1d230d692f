"""From a model on disk to an engine in this process, shown as it loads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llmrt.cli.progress import progress_bar
from llmrt.cli.terminal import say
from llmrt.config import EngineConfig
from llmrt.engine.hardware.threads import importing_torch
from llmrt.engine.llm_engine import LLMEngine
from llmrt.model.checkpoints.tensor_slots import num_parameters

if TYPE_CHECKING:
    from llmrt.engine.loading.load_model import Model


def load_engine(open_model: Callable[[], Model], config: EngineConfig) -> LLMEngine:
    """Build the engine, with a progress bar while its weights load, and print its notices on stderr.

    Raises ``LlmrtError`` for a checkpoint or a setting that cannot work.
    """
    with progress_bar("loading", "parameters") as bar:
        with importing_torch():
            from llmrt.engine.loading.build import assemble_engine  # a second or two
        model = open_model()
        bar.begin(num_parameters(model.config))
        engine = assemble_engine(model, config, bar.advance)
    for notice in engine.notices:
        say(f"note: {notice}")
    return engine
