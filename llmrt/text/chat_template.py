"""Chat templates: messages to the prompt that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from llmrt.errors import CheckpointError, TemplateError
from llmrt.text.gguf_metadata import open_gguf, read_list, read_value
from llmrt.text.load_tokenizer import tokenizer_file
from llmrt.text.messages import normalize_messages
from llmrt.text.mistral_template import mistral_template
from llmrt.text.model_files import read_json, read_text, special_token_texts
from llmrt.text.tekken_tokenizer import BEGINNING, END, read_tekken
from llmrt.text.template_process import TEMPLATES


class ChatTemplate:
    """A template. ``tool_use`` is the one for requests with tools, where a model has two.

    ``default`` is the text of the one, ``source`` that of both, and ``variables`` the names that they look up.
    ``bos_token`` and ``eos_token`` are "" for a model without one. Raises ``TemplateError`` where a source
    cannot be compiled.
    """

    def __init__(self, source: str, *, bos_token: str, eos_token: str, tool_use: str | None = None) -> None:
        self.source = source if tool_use is None else f"{source}\n{tool_use}"
        self.default = source
        self._tool_use = source if tool_use is None else tool_use
        self.variables = TEMPLATES.variables(self.default) | TEMPLATES.variables(self._tool_use)
        tokens = {"bos_token": bos_token, "eos_token": eos_token}
        # A template asks whether such a token is defined, so a missing one is left out.
        self._tokens = {name: text for name, text in tokens.items() if text}

    @property
    def knows_developer(self) -> bool:
        """Whether the template has the role "developer", which else is "system"."""
        return "developer" in self.source

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        tools: Sequence[Mapping[str, object]] | None = None,
        add_generation_prompt: bool = True,
        **extra: object,
    ) -> str:
        """The prompt for ``messages``, special tokens included: encode it with ``add_special_tokens=False``.

        ``extra`` are further variables of the template. Raises ``TemplateError`` with the template's own
        words where it refuses, ``RequestError`` for messages that ``normalize_messages`` refuses.
        """
        template = self._tool_use if tools else self.default
        normal = normalize_messages(messages, keep_developer=self.knows_developer)
        variables = {"documents": None, **self._tokens, **extra, "messages": normal}
        variables |= {"tools": tools, "add_generation_prompt": add_generation_prompt}
        return TEMPLATES.render(template, variables)


def load_chat_template(path: Path, names: Mapping[str, str] | None = None) -> ChatTemplate | None:
    """The chat template of a model directory or a .gguf file, None where it has none.

    In a directory chat_template.jinja goes before tokenizer_config.json, and that before chat_template.json; one with
    tekken.json and none of them has the template of its version. ``names`` are its ``named_tokens`` where they have
    been read already, which takes long in a .gguf file.
    """
    sources = _gguf_sources(path) if path.suffix == ".gguf" else _directory_sources(path)
    if not sources:
        return None
    if "default" not in sources:
        raise TemplateError(f"{path} has no chat template named 'default', only {', '.join(sources)}.")
    names = named_tokens(path) if names is None else names
    return ChatTemplate(
        sources["default"],
        bos_token=names.get("bos_token", ""),
        eos_token=names.get("eos_token", ""),
        tool_use=sources.get("tool_use"),
    )


def named_tokens(path: Path) -> Mapping[str, str]:
    """``{"bos_token": "<s>", ...}``: the special tokens that a model directory or a .gguf file names."""
    return _gguf_tokens(path) if path.suffix == ".gguf" else _directory_tokens(path)


def _directory_sources(directory: Path) -> Mapping[str, str]:
    files = {file.stem: file for file in sorted((directory / "additional_chat_templates").glob("*.jinja"))}
    if (directory / "chat_template.jinja").is_file():
        files["default"] = directory / "chat_template.jinja"
    if files:
        return {name: read_text(file) for name, file in files.items()}
    for name in ("tokenizer_config.json", "chat_template.json"):
        value = read_json(directory / name).get("chat_template")
        if value is not None:
            return _named_sources(directory / name, value)
    return _tekken_source(directory)


def _tekken_source(directory: Path) -> Mapping[str, str]:
    """What Mistral's programs do with a folder whose tokenizer is tekken.json."""
    if tokenizer_file(directory) != "tekken.json":
        return {}
    source = mistral_template(read_tekken(directory).config.version)
    return {} if source is None else {"default": source}


def _directory_tokens(directory: Path) -> Mapping[str, str]:
    tekken = {"bos_token": BEGINNING, "eos_token": END} if tokenizer_file(directory) == "tekken.json" else {}
    return special_token_texts(directory) or tekken


def _named_sources(path: Path, value: object) -> Mapping[str, str]:
    """``chat_template`` is one template, or a list of them with their names."""
    if isinstance(value, str):
        return {"default": value}
    sources: dict[str, str] = {}
    for entry in value if isinstance(value, list) else [value]:
        match entry:
            case {"name": str(name), "template": str(source)}:
                sources[name] = source
            case _:
                raise CheckpointError(f"{path}: chat_template must be a string or a list of named strings.")
    return sources


def _gguf_sources(path: Path) -> Mapping[str, str]:
    reader = open_gguf(path)
    keys = {"default": "tokenizer.chat_template"}
    for name in read_list(reader, "tokenizer.chat_templates", str) or []:
        keys[name] = f"tokenizer.chat_template.{name}"
    found = {name: read_value(reader, key, str) for name, key in keys.items()}
    return {name: source for name, source in found.items() if source is not None}


def _gguf_tokens(path: Path) -> Mapping[str, str]:
    reader = open_gguf(path)
    tokens = read_list(reader, "tokenizer.ggml.tokens", str) or []
    names = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
    ids = {name: read_value(reader, f"tokenizer.ggml.{key}_token_id", int) for name, key in names.items()}
    return {name: tokens[i] for name, i in ids.items() if i is not None and 0 <= i < len(tokens)}
