"""tokenizer.model against sentencepiece itself and against transformers' LlamaTokenizer."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers import AutoTokenizer

from llmrt.errors import CheckpointError, RequestError, TokenizerError
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt.text.tokenizer import Tokenizer

CONFIG = {
    "tokenizer_class": "LlamaTokenizer",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "add_bos_token": True,
}
AROUND_SPECIALS = [
    "<s>[INST] the cat [/INST]",
    "the</s>cat</s> the",
    "<s>",
    "x<s><s>hello there</s>\n",
    "<|im_start|>user\nthe cat <|im_end|>  \nand <tool>  the <tool>dog",
]


@pytest.fixture
def load(
    tmp_path: Path, sp_model: Path, write_json: Callable[[str, object], Path]
) -> Callable[..., tuple[Tokenizer, Any]]:
    """Our tokenizer and transformers', for a tokenizer_config.json."""

    def load(**config: object) -> tuple[Tokenizer, Any]:
        shutil.copy(sp_model, tmp_path / "tokenizer.model")
        write_json("tokenizer_config.json", CONFIG | config)
        return load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)

    return load


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("flags", [{}, {"add_bos_token": False}, {"add_eos_token": True}])
def test_ids_equal_transformers(
    load: Callable[..., tuple[Tokenizer, Any]], texts: list[str], legacy: bool, flags: dict[str, bool]
) -> None:
    ours, theirs = load(legacy=legacy, **flags)
    assert (ours.bos_token_id, ours.eos_token_ids, ours.vocab_size) == (1, {2}, len(theirs))
    for text in [*texts, *AROUND_SPECIALS]:
        if text.startswith((" ", "▁")) or (legacy and any(f"{token} " in text for token in ("<s>", "</s>"))):
            continue  # transformers adds no prefix before a space; sentencepiece does
        assert ours.encode(text) == theirs.encode(text), text
        assert ours.encode(text, add_special_tokens=False) == theirs.encode(text, add_special_tokens=False)
        for skip in (True, False):
            ids = ours.encode(text)
            assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)


def test_added_tokens_equal_transformers(load: Callable[..., tuple[Tokenizer, Any]], texts: list[str]) -> None:
    flags = {"single_word": False, "normalized": False}
    tokens = {
        "400": {"content": "<|im_start|>", "lstrip": False, "rstrip": False, "special": True, **flags},
        "401": {"content": "<|im_end|>", "lstrip": False, "rstrip": True, "special": True, **flags},
        "402": {"content": "<tool>", "lstrip": True, "rstrip": False, "special": False, **flags},
    }
    ours, theirs = load(added_tokens_decoder=tokens, eos_token="<|im_end|>")
    assert (ours.vocab_size, ours.eos_token_ids) == (403, {401})
    for text in [*texts, *AROUND_SPECIALS]:
        if not text.startswith((" ", "▁")):
            assert ours.encode(text) == theirs.encode(text), text
            assert ours.decode(ours.encode(text)) == theirs.decode(ours.encode(text), skip_special_tokens=True)
    assert [ours.is_special(i) for i in (400, 401, 402, 5)] == [True, True, False, False]
    assert ours.token_bytes(402) == b"<tool>"


def test_added_tokens_of_the_older_file(
    load: Callable[..., tuple[Tokenizer, Any]], write_json: Callable[[str, object], Path]
) -> None:
    write_json("added_tokens.json", {"<pad>": 400, "<tool>": 401})
    ours, theirs = load(pad_token="<pad>")
    text = "the <tool>cat<pad>the"
    assert ours.encode(text) == theirs.encode(text)
    assert [ours.is_special(i) for i in (400, 401)] == [True, False]


def test_plain_text_equals_sentencepiece(
    load: Callable[..., tuple[Tokenizer, Any]], sp_model: Path, texts: list[str]
) -> None:
    ours, _ = load()
    truth = sentencepiece.SentencePieceProcessor(model_file=str(sp_model))
    draw = random.Random(0)
    alphabet = "the cat  \n\t▁é日🎉<s>0123ąx"
    drawn = ["".join(draw.choices(alphabet, k=draw.randrange(40))) for _ in range(100)]
    for text in [*texts, *drawn]:
        ids = ours.encode(text, add_special_tokens=False, parse_special=False)
        assert ids == truth.EncodeAsIds(text), text
        assert ours.decode(ids) == truth.DecodeIds(ids), text


def test_without_a_prefix_space(load: Callable[..., tuple[Tokenizer, Any]]) -> None:
    ours, theirs = load(add_prefix_space=False)
    for text in ("the cat", " the cat", "</s>the"):
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == text.removeprefix("</s>")
    assert not ours.strips_leading_space


def test_a_beginning_token_is_added_unless_the_config_says_otherwise(tmp_path: Path, sp_model: Path) -> None:
    shutil.copy(sp_model, tmp_path / "tokenizer.model")
    ours = load_tokenizer(tmp_path)
    assert ours.encode("the")[0] == ours.bos_token_id == 1
    assert ours.eos_token_ids == {2}


def test_byte_tokens_are_single_bytes(load: Callable[..., tuple[Tokenizer, Any]]) -> None:
    ours, _ = load()
    assert [ours.token_bytes(3 + byte) for byte in range(256)] == [bytes([byte]) for byte in range(256)]
    assert ours.decode([3 + 0xE6, 3 + 0x97, 3 + 0xA5, 3 + 0xE6]) == "日\ufffd"
    assert ours.token_text(3) == "<0x00>"


@pytest.mark.parametrize("token_id", [-1, 400, 10**12])
def test_an_id_outside_the_vocabulary_is_a_request_error(
    load: Callable[..., tuple[Tokenizer, Any]], token_id: int
) -> None:
    ours, _ = load()
    assert not ours.is_special(token_id)
    for use in (ours.token_bytes, ours.token_text, lambda i: ours.decode([i])):
        with pytest.raises(RequestError, match=f"Token id {token_id} is not in the vocabulary"):
            use(token_id)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x0a\xff\xff\xff\xff", b"\x0a\x05\x0a\x03abc"])
def test_a_broken_model_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(TokenizerError, match="sentencepiece") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_wrong_flag_is_named(tmp_path: Path, sp_model: Path, write_json: Callable[[str, object], Path]) -> None:
    shutil.copy(sp_model, tmp_path / "tokenizer.model")
    write_json("tokenizer_config.json", {"add_bos_token": "yes"})
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: add_bos_token is 'yes'"):
        load_tokenizer(tmp_path)
    write_json("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "<a>"}}})
    with pytest.raises(CheckpointError, match="added_tokens_decoder has the id 'x'"):
        load_tokenizer(tmp_path)
    write_json("tokenizer_config.json", {"added_tokens_decoder": {"9": {}}})
    with pytest.raises(CheckpointError, match=r"added_tokens_decoder\[9\] has no content"):
        load_tokenizer(tmp_path)
