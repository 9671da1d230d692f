"""A GGUF file's vocabulary against the tokenizer that it was written from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import tokenizers
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from llmrt.errors import CheckpointError, TokenizerError
from llmrt.text.gguf_pretokenizers import bpe_rules
from llmrt.text.load_tokenizer import load_tokenizer

KEY = "tokenizer.ggml."
WriteGguf = Callable[[Mapping[str, object]], Path]
TrainBpe = Callable[..., tokenizers.Tokenizer]
BpeFields = Callable[[tokenizers.Tokenizer, str | None], dict[str, object]]

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTES])


def split(pattern: str) -> pre_tokenizers.PreTokenizer:
    splitter = pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([splitter, bytes_only])


SAME_AS_TRANSFORMERS = "llama-bpe llama3 llama-v3 falcon3 pixtral smaug-bpe dbrx qwen2 deepseek-r1-qwen tekken"
WORDS = {None: BYTES, "default": BYTES, "gpt-2": BYTES, "smollm": DIGITS, "starcoder": DIGITS} | {
    pre: split(GGUF_PRE_TOKENIZER_SPLITS[pre]) for pre in [*SAME_AS_TRANSFORMERS.split(), "gpt-4o", "llama4"]
}


@pytest.mark.parametrize("pre", [None, "gpt-2", "smollm", "llama-bpe", "qwen2", "tekken"])
def test_byte_level_ids_equal_the_source(
    write_gguf: WriteGguf, bpe_fields: BpeFields, train_bpe: TrainBpe, texts: list[str], pre: str | None
) -> None:
    llama_or_tekken = pre in ("llama-bpe", "tekken")
    source = train_bpe(ignore_merges=llama_or_tekken)
    source.pre_tokenizer = WORDS[pre]
    source.add_tokens([tokenizers.AddedToken("<tool>", normalized=False)])
    ours = load_tokenizer(write_gguf(bpe_fields(source, pre)))
    theirs = PreTrainedTokenizerFast(tokenizer_object=source, bos_token="<s>", eos_token="</s>")
    assert ours.vocab_size == len(theirs) == 421
    before = [1] if llama_or_tekken else []
    for text in [*texts, "a<tool> b"]:
        if pre == "qwen2" and "e\u0301" in text:
            continue  # Qwen2's tokenizer composes characters first; see the next test
        ids = theirs.encode(text)
        assert ours.encode(text, add_special_tokens=False) == ids, text
        assert ours.encode(text) == before + ids
        assert ours.encode(text, parse_special=False) == before + theirs.encode(text, split_special_tokens=True)
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
        assert ours.decode(ids, skip_special_tokens=False) == theirs.decode(ids)


def test_qwen2_composes_characters(write_gguf: WriteGguf, bpe_fields: BpeFields, train_bpe: TrainBpe) -> None:
    ours = load_tokenizer(write_gguf(bpe_fields(train_bpe(), "qwen2")))
    assert ours.encode("cafe\u0301") == ours.encode("café")


def test_ignore_merges_takes_a_whole_word(write_gguf: WriteGguf) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fields = {
        KEY + "model": "gpt2",
        KEY + "tokens": [*alphabet, "xy", "abc"],
        KEY + "merges": ["x y"],
        KEY + "bos_token_id": 0,
    }
    whole, parts = (load_tokenizer(write_gguf(fields | {KEY + "pre": p})) for p in ("llama-bpe", "gpt-2"))
    assert whole.encode("abc", add_special_tokens=False) == [257]
    assert parts.encode("abc") == [alphabet.index(c) for c in "abc"]


@pytest.mark.parametrize("pre", WORDS)
def test_words_are_cut_as_in_transformers(texts: list[str], pre: str | None) -> None:
    for text in texts:
        assert bpe_rules(pre).pre_tokenizer().pre_tokenize_str(text) == WORDS[pre].pre_tokenize_str(text)


def test_deepseek_cuts_digits_lines_and_scripts() -> None:
    def words(pre: str, text: str) -> list[str]:
        return [text[start:end] for _, (start, end) in bpe_rules(pre).pre_tokenizer().pre_tokenize_str(text)]

    assert words("deepseek-coder", "x = 42\n東京 tower") == ["x", " = ", "4", "2", "\n", "東京", " tower"]
    assert words("deepseek-v3", "12345 .next かな word!") == ["123", "45", " .", "next", " ", "かな", " word", "!"]


@pytest.mark.parametrize("flags", [(None, None), (True, True), (False, True), (True, False)])
def test_the_flags_say_what_is_added(
    write_gguf: WriteGguf,
    bpe_fields: BpeFields,
    train_bpe: TrainBpe,
    sp_fields: dict[str, object],
    flags: tuple[bool | None, bool | None],
) -> None:
    names = ("add_bos_token", "add_eos_token")
    said = {KEY + name: value for name, value in zip(names, flags, strict=True) if value is not None}
    for fields, default in ((bpe_fields(train_bpe(), "smollm"), False), (sp_fields, True)):
        ours = load_tokenizer(write_gguf(fields | said))
        before = [1] if (default if flags[0] is None else flags[0]) else []
        after = [2] if flags[1] else []
        assert ours.encode("the") == [*before, *ours.encode("the", add_special_tokens=False), *after]


def test_sentencepiece_ids_equal_the_model_it_came_from(
    tmp_path: Path,
    sp_model: Path,
    write_gguf: WriteGguf,
    sp_fields: dict[str, object],
    write_json: Callable[[str, object], Path],
    texts: list[str],
) -> None:
    shutil.copy(sp_model, tmp_path / "tokenizer.model")
    write_json("tokenizer_config.json", {"legacy": True})
    ours, source = load_tokenizer(write_gguf(sp_fields)), load_tokenizer(tmp_path)
    assert (ours.vocab_size, ours.bos_token_id, ours.eos_token_ids) == (400, 1, {2})
    assert ours.strips_leading_space
    for text in [*texts, "the</s>cat<s> dog"]:
        for parse_special in (True, False):
            ids = source.encode(text, parse_special=parse_special)
            assert ours.encode(text, parse_special=parse_special) == ids, text
        for skip in (True, False):
            assert ours.decode(ids, skip_special_tokens=skip) == source.decode(ids, skip_special_tokens=skip)
    for i in range(400):
        assert (ours.token_bytes(i), ours.is_special(i)) == (source.token_bytes(i), source.is_special(i))


def test_sentencepiece_control_and_user_defined_tokens(write_gguf: WriteGguf, sp_fields: dict[str, object]) -> None:
    added = {"<|im_end|>": 3, "<tool>": 4, "   ": 4, "<|other|>": 3, "[pad]": 5}
    fields = dict(sp_fields)
    fields[KEY + "tokens"] = [*sp_fields[KEY + "tokens"], *added]  # type: ignore[misc]
    fields[KEY + "scores"] = [*sp_fields[KEY + "scores"], *[-1000.0] * len(added)]  # type: ignore[misc]
    fields[KEY + "token_type"] = [*sp_fields[KEY + "token_type"], *added.values()]  # type: ignore[misc]
    ours = load_tokenizer(write_gguf(fields | {KEY + "add_space_prefix": False}))
    assert ours.eos_token_ids == {2, 400}
    assert ours.encode("<|im_end|>") == [1, 400]
    the = ours.encode("the", add_special_tokens=False)
    assert ours.encode("the<tool>the   <|other|>") == [1, *the, 401, *the, 402, 403]
    assert 403 not in ours.encode("<|other|>", parse_special=False)
    assert ours.decode([*the, 401, 402, 400, *the, 403]) == "the<tool>   the"
    assert ours.decode([400, 401], skip_special_tokens=False) == "<|im_end|><tool>"
    assert not ours.strips_leading_space


def test_end_of_turn_tokens_end_an_answer(write_gguf: WriteGguf, bpe_fields: BpeFields, train_bpe: TrainBpe) -> None:
    fields = bpe_fields(train_bpe(), "smollm")
    assert load_tokenizer(write_gguf(fields)).eos_token_ids == {2, 4}
    assert load_tokenizer(write_gguf(fields | {KEY + "eot_token_id": 3})).eos_token_ids == {2, 3, 4}
    kinds = [1 if kind == 3 else kind for kind in fields[KEY + "token_type"]]  # type: ignore[attr-defined]
    assert load_tokenizer(write_gguf(fields | {KEY + "token_type": kinds})).eos_token_ids == {2}


def test_a_token_with_a_colon_can_begin_a_text(
    write_gguf: WriteGguf, bpe_fields: BpeFields, train_bpe: TrainBpe
) -> None:
    source = train_bpe()
    source.add_special_tokens(["<a:1 $B>"])
    fields = bpe_fields(source, "smollm") | {KEY + "bos_token_id": 420, KEY + "add_bos_token": True}
    assert load_tokenizer(write_gguf(fields)).encode("") == [420]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": None}, "model.gguf has no tokenizer: looked for tokenizer.ggml.model"),
        ({"model": "rwkv"}, "tokenizer.ggml.model is 'rwkv'"),
        ({"pre": "from-the-future"}, "tokenizer.ggml.pre is 'from-the-future'"),
        ({"tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"merges": None}, "tokenizer.ggml.merges is missing"),
        ({"merges": ["a", "b c"]}, "tokenizer.ggml.merges has 'a'"),
        ({"merges": ["nowhere near"]}, "tokenizer.ggml.merges do not fit the tokens"),
        ({"token_type": [1, 1]}, "tokenizer.ggml.token_type has 2 entries for 420 tokens"),
        ({"token_type": [9] * 420}, "tokenizer.ggml.token_type has 9"),
        ({"eos_token_id": 420}, "tokenizer.ggml.eos_token_id is 420; the vocabulary has ids 0 to 419"),
    ],
)
def test_an_unusable_vocabulary_names_the_field(
    write_gguf: WriteGguf,
    bpe_fields: BpeFields,
    train_bpe: TrainBpe,
    change: dict[str, object],
    reason: str,
) -> None:
    fields = bpe_fields(train_bpe(), "smollm") | {KEY + name: value for name, value in change.items()}
    path = write_gguf({name: value for name, value in fields.items() if value is not None})
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(path)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scores": None}, "tokenizer.ggml.scores is missing"),
        ({"scores": [0.5]}, "tokenizer.ggml.scores has 1 entries for 400 tokens"),
        ({"token_type": [1] * 400}, "sentencepiece vocabulary cannot be used"),
    ],
)
def test_an_unusable_sentencepiece_vocabulary_names_the_field(
    write_gguf: WriteGguf, sp_fields: dict[str, object], change: dict[str, object], reason: str
) -> None:
    fields = sp_fields | {KEY + name: value for name, value in change.items()}
    path = write_gguf({name: value for name, value in fields.items() if value is not None})
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_field_of_another_type_is_a_checkpoint_error(write_gguf: WriteGguf, sp_fields: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match=r"model\.gguf: tokenizer\.ggml\.bos_token_id holds string"):
        load_tokenizer(write_gguf(sp_fields | {KEY + "bos_token_id": "one"}))
