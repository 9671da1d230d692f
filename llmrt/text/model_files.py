"""The small JSON files beside a model's weights, read with errors that name file and field."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from tokenizers import AddedToken

from llmrt.errors import CheckpointError
from llmrt.text.json_text import parse_json

JsonObject = Mapping[str, object]

_SPECIAL_TOKEN_FILES = ("special_tokens_map.json", "tokenizer_config.json")
_TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def read_text(path: Path) -> str:
    """The text in ``path``; ``CheckpointError`` for a file that cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8: {error}.") from error


def read_json(path: Path) -> JsonObject:
    """The JSON object in ``path``, empty where there is no such file.

    Raises ``CheckpointError`` for a file that cannot be read or holds something else.
    """
    if not path.exists():
        return {}
    try:
        value = parse_json(read_text(path))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}; expected a JSON object.")
    return value


def special_token_texts(directory: Path) -> Mapping[str, str]:
    """``{"bos_token": "<s>", ...}``: the named special tokens of a model directory.

    tokenizer_config.json decides; special_tokens_map.json adds what it does not name.
    """
    names: dict[str, str] = {}
    for file in _SPECIAL_TOKEN_FILES:
        for key, value in read_json(directory / file).items():
            text = _content(value)
            if key.endswith("_token") and text is not None:
                names[key] = text
    return names


def all_special_texts(directory: Path) -> frozenset[str]:
    """The named special tokens, and those that are only listed as special."""
    texts = set(special_token_texts(directory).values())
    for file in _SPECIAL_TOKEN_FILES:
        for key in ("additional_special_tokens", "extra_special_tokens"):
            listed = read_json(directory / file).get(key)
            values = listed.values() if isinstance(listed, Mapping) else listed
            for value in values if isinstance(values, Iterable) else ():
                texts.update(filter(None, [_content(value)]))
    return frozenset(texts)


def declared_tokens(directory: Path, *, known: Collection[int] = ()) -> Mapping[int, AddedToken]:
    """Tokens that tokenizer_config.json's ``added_tokens_decoder``, else added_tokens.json, adds, by id.

    The tokens of added_tokens.json come without flags, so those with ``known`` ids stay as they are.
    """
    path = directory / "tokenizer_config.json"
    decoder = read_json(path).get("added_tokens_decoder")
    if decoder is None:
        legacy = _legacy_tokens(directory / "added_tokens.json", all_special_texts(directory))
        return {token_id: token for token_id, token in legacy.items() if token_id not in known}
    if not isinstance(decoder, Mapping):
        raise CheckpointError(f"{path}: added_tokens_decoder must be an object of token ids.")
    return {_token_id(path, key): _added_token(path, key, value) for key, value in decoder.items()}


def end_token_ids(directory: Path, eos_token_id: int | None) -> frozenset[int]:
    """``eos_token_id`` and those that generation_config.json and config.json name."""
    ids = set() if eos_token_id is None else {eos_token_id}
    for file in ("generation_config.json", "config.json"):
        value = read_json(directory / file).get("eos_token_id")
        for token_id in value if isinstance(value, list) else [] if value is None else [value]:
            if type(token_id) is not int:
                raise CheckpointError(f"{directory / file}: eos_token_id is {value!r}; expected token ids.")
            ids.add(token_id)
    return frozenset(ids)


def _legacy_tokens(path: Path, special: Collection[str]) -> Mapping[int, AddedToken]:
    tokens: dict[int, AddedToken] = {}
    for text, token_id in read_json(path).items():
        if type(token_id) is not int:
            raise CheckpointError(f"{path}: the id of {text!r} is {token_id!r}; expected a number.")
        tokens[token_id] = AddedToken(text, special=text in special)
    return tokens


def _content(value: object) -> str | None:
    """A token is written as its text, or as an object with its text in ``content``."""
    text = value.get("content") if isinstance(value, Mapping) else value
    return text if isinstance(text, str) else None


def _token_id(path: Path, key: object) -> int:
    if not (isinstance(key, str) and key.isdecimal()):
        raise CheckpointError(f"{path}: added_tokens_decoder has the id {key!r}; expected a number.")
    return int(key)


def _added_token(path: Path, key: str, value: object) -> AddedToken:
    text = _content(value)
    if not isinstance(value, Mapping) or text is None:
        raise CheckpointError(f"{path}: added_tokens_decoder[{key}] has no content.")
    return AddedToken(text, **{flag: bool(value[flag]) for flag in _TOKEN_FLAGS if flag in value})
