"""Mistral's tekken.json against tiktoken, which Mistral's own programs read it with."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from tokenizers import Tokenizer, pre_tokenizers
from transformers.convert_slow_tokenizer import bytes_to_unicode

from llmrt.errors import TokenizerError
from llmrt.text.chat_template import load_chat_template
from llmrt.text.load_tokenizer import load_tokenizer

TrainBpe = Callable[..., Tokenizer]

PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = 30


def ranks_of(source: Tokenizer) -> dict[bytes, int]:
    """Bytes first, then the tokens that training made, in its order."""
    of_character = {character: byte for byte, character in bytes_to_unicode().items()}
    names = sorted(source.get_vocab().items(), key=lambda item: item[1])
    made = [bytes(of_character[c] for c in name) for name, _ in names if len(name) > 1 and not name.startswith("<")]
    return {token: rank for rank, token in enumerate([*(bytes([byte]) for byte in range(256)), *made])}


@pytest.fixture(scope="module")
def ranks(train_bpe: TrainBpe) -> dict[bytes, int]:
    return ranks_of(train_bpe())


def tekken(ranks: dict[bytes, int]) -> dict[str, Any]:
    """With more tokens than the configuration asks for, as the published files have."""
    tokens = [*ranks, b"too many"]
    return {
        "config": {
            "pattern": PATTERN,
            "num_vocab_tokens": len(tokens),
            "default_vocab_size": SPECIAL + len(ranks),
            "default_num_special_tokens": SPECIAL,
            "version": "v3",
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
            for rank, token in enumerate(tokens)
        ],
        "special_tokens": None,
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "tekken.json").write_text(json.dumps(content))
    return folder


def test_ids_are_those_of_tiktoken(ranks: dict[bytes, int], texts: list[str], tmp_path: Path) -> None:
    ours = load_tokenizer(write(tmp_path, tekken(ranks)))
    theirs = tiktoken.Encoding("tekken", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    assert ours.vocab_size == SPECIAL + len(ranks)
    for text in [*texts, *(character * 50 for character in "a -.0e")]:
        ids = [SPECIAL + rank for rank in theirs.encode(text, disallowed_special=())]
        assert ours.encode(text, parse_special=False) == [1, *ids], text
        assert ours.decode(ids) == text
        assert b"".join(map(ours.token_bytes, ids)) == text.encode()


def test_special_tokens_have_the_first_ids(ranks: dict[bytes, int], tmp_path: Path) -> None:
    ours = load_tokenizer(write(tmp_path, tekken(ranks)))
    assert ours.encode("[INST][/INST]<SPECIAL_20></s>", add_special_tokens=False) == [3, 4, 20, 2]
    assert (ours.bos_token_id, ours.eos_token_ids) == (1, {2})
    assert all(map(ours.is_special, range(SPECIAL)))
    assert not ours.is_special(SPECIAL)


def test_special_tokens_may_be_listed(ranks: dict[bytes, int], tmp_path: Path) -> None:
    listed = [("<unk>", True), ("<s>", True), ("</s>", True), ("[THINK]", True), ("[note]", False)]
    tokens = [{"rank": i, "token_str": name, "is_control": control} for i, (name, control) in enumerate(listed)]
    ours = load_tokenizer(write(tmp_path, {**tekken(ranks), "special_tokens": tokens}))
    assert ours.encode("[THINK][note]<SPECIAL_5>", add_special_tokens=False) == [3, 4, 5]
    assert not ours.is_special(4)


def test_templates_begin_with_the_token_that_the_tokenizer_has(ranks: dict[bytes, int], tmp_path: Path) -> None:
    write(tmp_path, tekken(ranks))
    (tmp_path / "chat_template.jinja").write_text("{{ bos_token }}[INST]{{ messages[0].content }}[/INST]")
    template = load_chat_template(tmp_path)
    assert template is not None
    assert template.render([{"role": "user", "content": "Hi"}]) == "<s>[INST]Hi[/INST]"


def test_tokenizer_json_goes_first(train_bpe: TrainBpe, ranks: dict[bytes, int], tmp_path: Path) -> None:
    source = train_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False))
    source.save(str(write(tmp_path, tekken(ranks)) / "tokenizer.json"))
    assert load_tokenizer(tmp_path).encode("Hello", add_special_tokens=False) == source.encode("Hello").ids


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no vocab": ({"vocab": None}, r"tekken.json is no tokenizer of Mistral's: Expected `array`, got `null`"),
    "ranks": ({"vocab": [{"rank": 7, "token_bytes": "AA=="}] * 800}, "must have the ranks 0 to .* each of other bytes"),
    "few": ({"vocab": []}, r"default_vocab_size asks for \d+ tokens; vocab has 0"),
    "names": ({"special_tokens": [{"rank": 0, "token_str": "<SPECIAL_5>"}]}, "special_tokens has a name twice"),
    "order": ({"special_tokens": [{"rank": 1, "token_str": "<s>"}]}, "must have the ranks 0 to 29 in turn"),
}


@pytest.mark.parametrize("name", ["default_vocab_size", "default_num_special_tokens"])
def test_numbers_of_tokens_that_nobody_has_are_refused(name: str, ranks: dict[bytes, int], tmp_path: Path) -> None:
    content = tekken(ranks)
    content["config"][name] = 10**12
    with pytest.raises(TokenizerError, match=f"<= 4194304.*{name}"):
        load_tokenizer(write(tmp_path, content))


@pytest.mark.parametrize("content", [b'{"a":' * 100_000, b"\xff", b'{"config": "\xff"}'])
def test_what_is_no_json_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tekken.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tekken\.json is no tokenizer of Mistral's: "):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case: str, ranks: dict[bytes, int], tmp_path: Path) -> None:
    change, message = BAD[case]
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(write(tmp_path, {**tekken(ranks), **change}))


def test_a_pattern_that_is_none_is_named(ranks: dict[bytes, int], tmp_path: Path) -> None:
    content = tekken(ranks)
    content["config"]["pattern"] = "("
    with pytest.raises(TokenizerError, match=r"tekken.json: .*pattern"):
        load_tokenizer(write(tmp_path, content))
