"""What a chat request says of tools: which there are, which may be called, and which must be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmrt.errors import RequestError
from llmrt.server.schemas import ChatBody, FunctionSpec, ToolSpec
from llmrt.text.grammar import json_schema_grammar
from llmrt.text.json_schema import schema_text

_ANY_ARGUMENTS = {"type": "object"}


@dataclass(frozen=True, kw_only=True)
class ToolUse:
    """``shown`` to the model are all tools, as the templates have them; ``callable`` are those that it may call.

    ``forced``: the answer must be calls. ``many``: they may be several.
    """

    shown: list[dict[str, Any]]
    callable: Mapping[str, FunctionSpec]
    forced: bool
    many: bool

    @property
    def constrains(self) -> bool:
        """Whether calls must follow a grammar."""
        strict = any(function.strict for function in self.callable.values())
        return self.forced or strict or len(self.callable) < len(self.shown)

    def schemas(self) -> tuple[dict[str, str], list[str]]:
        """The schema of each callable tool's arguments, and the fields whose schema is not enforced.

        A schema that cannot be enforced is an error where the tool is strict; otherwise any object will do.
        """
        schemas: dict[str, str] = {}
        loose: list[str] = []
        for index, tool in enumerate(self.shown):
            function = self.callable.get(tool["function"]["name"])
            if function is not None:
                schemas[function.name], enforced = _arguments(function, f"tools[{index}].function.parameters")
                loose += [] if enforced else [f"tools.{index}.function.parameters"]
        return schemas, loose


def tool_use(body: ChatBody) -> ToolUse | None:
    """What ``body`` asks for; None where no tool may be called. Raises ``RequestError`` naming the field."""
    tools = body.tools or []
    _check_names(tools)
    functions = {tool.function.name: tool.function for tool in tools}
    names, forced = _choice(body.tool_choice, functions)
    if not names:
        return None
    one = isinstance(body.tool_choice, dict) and body.tool_choice.get("type") == "function"
    return ToolUse(
        shown=[_shown(tool) for tool in tools],
        callable={name: functions[name] for name in functions if name in names},
        forced=forced,
        many=body.parallel_tool_calls is not False and not one,
    )


def _check_names(tools: Sequence[ToolSpec]) -> None:
    twice = [name for name, count in Counter(tool.function.name for tool in tools).items() if count > 1]
    if twice:
        raise RequestError(f"tools has two functions with the name {twice[0]!r}.", param="tools")


def _choice(choice: str | Mapping[str, Any] | None, functions: Mapping[str, FunctionSpec]) -> tuple[set[str], bool]:
    """The names that may be called, and whether one must be."""
    match choice:
        case None | "auto":
            return {*functions}, False
        case "none":
            return set(), False
        case "required":
            return _known([*functions], functions), True
        case {"type": "function", "function": {"name": str(name)}}:
            return _known([name], functions), True
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(tools)}}:
            return _known([_name(tool) for tool in tools], functions), mode == "required"
        case _:
            raise RequestError(
                "tool_choice must be 'none', 'auto', 'required', a function or allowed_tools.", param="tool_choice"
            )


def _name(tool: object) -> str:
    match tool:
        case {"function": {"name": str(name)}}:
            return name
        case _:
            raise RequestError("tool_choice.allowed_tools.tools must hold functions with names.", param="tool_choice")


def _known(names: Sequence[str], functions: Mapping[str, FunctionSpec]) -> set[str]:
    if not names:
        raise RequestError("tool_choice needs tools to choose from.", param="tool_choice")
    for name in names:
        if name not in functions:
            raise RequestError(f"tool_choice names {name!r}, which is not among tools.", param="tool_choice")
    return {*names}


def _shown(tool: ToolSpec) -> dict[str, Any]:
    """A tool as templates show it; they expect a schema."""
    function = tool.function.model_dump(include={"name", "description"}, exclude_none=True)
    parameters = tool.function.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": {**function, "parameters": parameters}}


def _arguments(function: FunctionSpec, param: str) -> tuple[str, bool]:
    schema = {**_ANY_ARGUMENTS, **(function.parameters or {})}
    try:
        if schema["type"] != "object":
            raise RequestError(f"{param} must describe an object.", param=param)
        json_schema_grammar(schema, param=param)
    except RequestError:
        if function.strict:
            raise
        return schema_text(_ANY_ARGUMENTS, param=param), False
    return schema_text(schema, param=param), True
