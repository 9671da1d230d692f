"""Which form a model writes its calls in, read from its chat template."""

from __future__ import annotations

from llmrt.text.tool_formats.hermes import HermesFormat
from llmrt.text.tool_formats.llama3 import Llama3Format
from llmrt.text.tool_formats.mistral import MistralListFormat, MistralNamedFormat
from llmrt.text.tool_formats.tool_format import ToolFormat


def find_tool_format(template: str) -> ToolFormat | None:
    """The form that the source of a chat template asks for; None where it asks for none that is known."""
    if "[TOOL_CALLS]" in template:
        return MistralNamedFormat() if "[ARGS]" in template else MistralListFormat()
    if "<tool_call>" in template and "<function=" not in template:  # with that, calls are XML: Qwen3-Coder's form
        return HermesFormat()
    if "<|python_tag|>" in template or ('"parameters": ' in template and "ipython" in template):
        return Llama3Format()
    return None
