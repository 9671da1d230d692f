"""Chat templates for models that come with tekken.json and without a template, which Mistral's programs have in code.

What differs from one version of that file to the next:

    v3          the system message begins the last question; calls are a JSON list, results JSON objects
    v7          system messages have marks; a result is behind the id of its call
    v11         a mark, a name, an id and arguments for each call
    v13         neither calls nor results have ids, and tools stand before the first question

As mistral_common writes them (https://github.com/mistralai/mistral-common).
"""

from __future__ import annotations

_TEMPLATE = """\
{%- set found = namespace(first=-1, last=-1, system='') %}
{%- for message in messages %}
{%- if message.role == 'user' %}
{%- if found.first < 0 %}{%- set found.first = loop.index0 %}{%- endif %}
{%- set found.last = loop.index0 %}
{%- elif message.role == 'system' %}
{%- set found.system = found.system + message.content + '\\n\\n' %}
{%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in messages %}
{%- if message.role == 'system' %}
@SYSTEM@
{%- elif message.role == 'user' %}
{%- if tools and loop.index0 == found.@TOOLS_AT@ %}
{{- '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}
{%- endif %}
{{- '[INST]' }}@BEFORE@{{- message.content + '[/INST]' }}
{%- elif message.role == 'assistant' %}
{{- message.content or '' }}
{%- if message.tool_calls %}
@CALLS@
{%- endif %}
{{- eos_token }}
{%- elif message.role == 'tool' %}
{{- '[TOOL_RESULTS]' }}@RESULT@{{- '[/TOOL_RESULTS]' }}
{%- else %}
{{- raise_exception('Roles are system, user, assistant and tool.') }}
{%- endif %}
{%- endfor %}
"""

_LIST = """\
{{- '[TOOL_CALLS][' }}
{%- for call in message.tool_calls %}
{{- '{"name": ' + call.function.name | tojson + ', "arguments": ' + call.function.arguments | tojson }}
{{- ', "id": ' + call.id | tojson + '}' + (']' if loop.last else ', ') }}
{%- endfor %}"""
_NAMED = """\
{%- for call in message.tool_calls %}
{{- '[TOOL_CALLS]' + call.function.name + @ID@'[ARGS]' + call.function.arguments | tojson }}
{%- endfor %}"""
# What is JSON already stays as it is.
_OBJECT = """\
{{- '{"content": ' + (message.content if message.content[:1] in ['{', '['] else message.content | tojson) }}
{{- ', "call_id": ' + message.tool_call_id | tojson + '}' }}"""
_MARKED = "{{- '[SYSTEM_PROMPT]' + message.content + '[/SYSTEM_PROMPT]' }}"
_BEHIND_ID = "{{- message.tool_call_id + '[TOOL_CONTENT]' + message.content }}"

_V7 = {"SYSTEM": _MARKED, "TOOLS_AT": "last", "BEFORE": "", "CALLS": _LIST, "RESULT": _BEHIND_ID}
_PARTS = {
    "v3": {
        **_V7,
        "SYSTEM": "",
        "BEFORE": "{{- found.system if loop.index0 == found.last else '' }}",
        "RESULT": _OBJECT,
    },
    "v7": _V7,
    "v11": {**_V7, "CALLS": _NAMED.replace("@ID@", "'[CALL_ID]' + call.id + ")},
    "v13": {**_V7, "TOOLS_AT": "first", "CALLS": _NAMED.replace("@ID@", ""), "RESULT": "{{- message.content }}"},
}


def mistral_template(version: str) -> str | None:
    """The template for a tekken.json of ``version``, None for one that is not known."""
    if (parts := _PARTS.get(version)) is None:
        return None
    template = _TEMPLATE
    for name, part in parts.items():
        template = template.replace(f"@{name}@", part)
    return template
