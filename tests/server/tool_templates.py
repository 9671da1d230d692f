"""Two tools; ChatML that shows tools, calls and results, in the manner of families whose forms of calls differ."""

from __future__ import annotations

import json
from typing import Any

SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False}
TOOLS: Any = [
    {"type": "function", "function": {"name": "f", "description": "Does f.", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "g"}},
]


def hermes(name: str, arguments: Any) -> str:
    """A call as Hermes' and Qwen's models write it."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


_OPEN = """\
{%- if tools -%}{{- '<|im_start|>system\\n' + (tools | tojson) + '<|im_end|>\\n' -}}{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content -}}
"""
_CLOSE = """\
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""

QWEN = (
    _OPEN
    + """\
{%- if message.reasoning_content -%}{{- '<think>' + message.reasoning_content + '</think>' -}}{%- endif -%}
{%- for call in message.tool_calls -%}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' -}}
{{- (call.function.arguments | tojson) + '}\\n</tool_call>' -}}
{%- endfor -%}
"""
    + _CLOSE
    + """\
{%- if enable_thinking is defined and not enable_thinking -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}
{%- if thinks_at_once -%}{{- '<think>\\n' -}}{%- endif -%}
"""
)

LLAMA = (
    _OPEN
    + """\
{%- if message.tool_calls -%}
{%- if message.tool_calls | length > 1 -%}{{- raise_exception('one call only') -}}{%- endif -%}
{%- set call = message.tool_calls[0].function -%}
{{- '<|python_tag|>{"name": "' + call.name + '", "parameters": ' + (call.arguments | tojson) + '}' -}}
{%- endif -%}
"""
    + _CLOSE
)

MISTRAL = (
    _OPEN
    + """\
{%- if message.tool_calls -%}{{- '[TOOL_CALLS][' -}}
{%- for call in message.tool_calls -%}
{%- if call.id | length != 9 -%}{{- raise_exception('ids have 9 characters') -}}{%- endif -%}
{{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' -}}{{- ', ' if not loop.last else '' -}}
{%- endfor -%}
{{- ']' -}}{%- endif -%}
{%- if message.role == 'tool' -%}{{- message.tool_call_id -}}{%- endif -%}
"""
    + _CLOSE
)

MISTRAL_NAMED = MISTRAL.replace("'[TOOL_CALLS]['", "'[TOOL_CALLS]f[ARGS]'")

# Arguments are joined as text, which an object cannot be.
DEEPSEEK = (
    _OPEN
    + """\
{%- for call in message.tool_calls -%}{{- '<tool_call>' + call.function.arguments + '</tool_call>' -}}{%- endfor -%}
"""
    + _CLOSE
)
