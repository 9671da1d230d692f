"""llmrt: a local LLM inference runtime.

from llmrt import LLM

with LLM("smollm2-135m", quant="int4") as llm:
    print(llm.chat("What is the capital of Japan?", max_tokens=50).choices[0].message.content)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmrt.errors import LlmrtError as LlmrtError
    from llmrt.library.async_llm import AsyncLLM as AsyncLLM
    from llmrt.library.llm import LLM as LLM

__version__ = "0.1.0"

_MODULES = {"LLM": "llmrt.library.llm", "AsyncLLM": "llmrt.library.async_llm", "LlmrtError": "llmrt.errors"}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is: the command line asks for nothing."""
    if name not in _MODULES:
        raise AttributeError(f"module 'llmrt' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
