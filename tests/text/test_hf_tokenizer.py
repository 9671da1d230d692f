"""tokenizer.json against transformers' AutoTokenizer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

from llmrt.errors import CheckpointError, RequestError, TokenizerError
from llmrt.text.hf_tokenizer import library_errors
from llmrt.text.load_tokenizer import load_tokenizer

CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "clean_up_tokenization_spaces": True,
}
BOS = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
BOS_EOS = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
SPECIALS_IN_TEXT = "a <|im_start|> b</s>c <s> [tool] d  [tool]"


def charsmap(text: str) -> bytes:
    """sentencepiece's form of a map from characters to ``text``, in whose trie there is nothing."""
    trie = bytes(1024)
    return len(trie).to_bytes(4, "little") + trie + text.encode() + b"\0"


def assert_same(folder: Path, texts: list[str]) -> None:
    """Ids both ways, with and without special tokens, and the text they decode to."""
    ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    assert ours.vocab_size == len(theirs)
    assert ours.bos_token_id == theirs.bos_token_id
    assert theirs.eos_token_id in ours.eos_token_ids
    assert [ours.is_special(i) for i in range(ours.vocab_size)] == [
        theirs.added_tokens_decoder[i].special if i in theirs.added_tokens_decoder else False
        for i in range(ours.vocab_size)
    ]
    for text in [*texts, SPECIALS_IN_TEXT]:
        ids = ours.encode(text)
        assert ids == theirs.encode(text), text
        bare = ours.encode(text, add_special_tokens=False)
        assert bare == theirs.encode(text, add_special_tokens=False), text
        literal = ours.encode(text, parse_special=False)
        assert literal == theirs.encode(text, split_special_tokens=True), text
        for skip in (True, False):
            assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)
            assert ours.decode(bare, skip_special_tokens=skip) == theirs.decode(bare, skip_special_tokens=skip)
        assert [ours.token_text(i) for i in ids] == theirs.convert_ids_to_tokens(ids)


@pytest.mark.parametrize("post_processor", [None, BOS, BOS_EOS])
@pytest.mark.parametrize("flags", [{}, {"add_bos_token": True}, {"add_bos_token": False, "add_eos_token": True}])
def test_byte_level_ids_equal_transformers(
    tmp_path: Path,
    write_json: Callable[[str, object], Path],
    train_bpe: Callable[..., tokenizers.Tokenizer],
    texts: list[str],
    post_processor: processors.PostProcessor | None,
    flags: dict[str, bool],
) -> None:
    tokenizer = train_bpe()
    if post_processor is not None:
        tokenizer.post_processor = post_processor
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    write_json("tokenizer_config.json", CONFIG | flags)
    assert_same(tmp_path, texts)


def llama_vocabulary(pre_tokenizer: bool) -> tokenizers.Tokenizer:
    """Sentencepiece's spelling in tokenizer.json: by normalizer as Llama 2, by Metaspace as Mistral 0.3."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁helowrdtca"]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("l", "l"), ("he", "ll"), ("▁", "▁")]
    words += ["".join(pair) for pair in merges]
    model = models.BPE({word: i for i, word in enumerate(words)}, merges, byte_fallback=True, fuse_unk=True)
    tokenizer = tokenizers.Tokenizer(model)
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", left=1)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = BOS
    return tokenizer


@pytest.mark.parametrize("pre_tokenizer", [True, False])
def test_sentencepiece_spelling_equals_transformers(
    tmp_path: Path, write_json: Callable[[str, object], Path], texts: list[str], pre_tokenizer: bool
) -> None:
    llama_vocabulary(pre_tokenizer).save(str(tmp_path / "tokenizer.json"))
    write_json("tokenizer_config.json", CONFIG)
    assert_same(tmp_path, texts)
    assert load_tokenizer(tmp_path).strips_leading_space
    assert load_tokenizer(tmp_path).token_bytes(3 + 0xE6) == b"\xe6"


def test_metaspace_decoder_equals_transformers(
    tmp_path: Path, write_json: Callable[[str, object], Path], texts: list[str]
) -> None:
    tokenizer = llama_vocabulary(pre_tokenizer=True)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    write_json("tokenizer_config.json", CONFIG)
    assert_same(tmp_path, [text for text in texts if all(c in " helowrdtca" for c in text)] + ["  the cat"])


def test_tokens_declared_in_the_config_equal_transformers(
    tmp_path: Path,
    write_json: Callable[[str, object], Path],
    train_bpe: Callable[..., tokenizers.Tokenizer],
    texts: list[str],
) -> None:
    tokenizer = train_bpe()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    flags: dict[str, Any] = {"single_word": False, "normalized": False}
    declared = {
        str(size): {"content": "[tool]", "lstrip": True, "rstrip": True, "special": False, **flags},
        str(size + 1): {"content": "<|end|>", "lstrip": False, "rstrip": False, "special": True, **flags},
        "3": {"content": "<|im_start|>", "lstrip": False, "rstrip": True, "special": True, **flags},
    }
    config = CONFIG | {"added_tokens_decoder": declared, "eos_token": "<|end|>"}
    write_json("tokenizer_config.json", config)
    assert_same(tmp_path, [*texts, "a <|end|> b [tool]c[tool]"])
    declared["3"]["content"] = "[elsewhere]"
    write_json("tokenizer_config.json", config)
    with pytest.raises(TokenizerError, match=rf"gives '\[elsewhere\]' the id 3, but .* it is {size}"):
        load_tokenizer(tmp_path)


def test_special_tokens_of_the_older_files_equal_transformers(
    tmp_path: Path,
    write_json: Callable[[str, object], Path],
    train_bpe: Callable[..., tokenizers.Tokenizer],
    texts: list[str],
) -> None:
    tokenizer = train_bpe()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    write_json("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    specials = {"bos_token": {"content": "<s>", "lstrip": False}, "eos_token": "</s>"}
    write_json("special_tokens_map.json", specials | {"additional_special_tokens": ["he", "<|im_end|>"]})
    write_json("added_tokens.json", {"<s>": 1, "<|im_start|>": 3, "<added>": tokenizer.get_vocab_size()})
    assert_same(tmp_path, [*texts, "the <added> one"])


def test_every_file_adds_to_the_end_tokens(
    tmp_path: Path,
    write_json: Callable[[str, object], Path],
    train_bpe: Callable[..., tokenizers.Tokenizer],
) -> None:
    train_bpe().save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).eos_token_ids == frozenset()
    write_json("tokenizer_config.json", {"eos_token": {"content": "</s>"}})
    write_json("config.json", {"eos_token_id": 7, "vocab_size": 500})
    write_json("generation_config.json", {"eos_token_id": [4, 2]})
    assert load_tokenizer(tmp_path).eos_token_ids == {2, 4, 7}
    assert load_tokenizer(tmp_path).is_special(7)
    write_json("generation_config.json", {"eos_token_id": "</s>"})
    with pytest.raises(CheckpointError, match=r"generation_config\.json: eos_token_id is '</s>'"):
        load_tokenizer(tmp_path)


def test_a_length_limit_in_the_file_cuts_no_prompt(
    tmp_path: Path, train_bpe: Callable[..., tokenizers.Tokenizer]
) -> None:
    tokenizer = train_bpe()
    ids = tokenizer.encode("a prompt of more than four tokens").ids
    tokenizer.enable_truncation(max_length=4)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).encode("a prompt of more than four tokens") == ids
    tokenizer.no_truncation()
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).encode("a prompt of more than four tokens") == ids


def test_single_tokens_have_their_exact_bytes(
    tmp_path: Path, train_bpe: Callable[..., tokenizers.Tokenizer], texts: list[str]
) -> None:
    train_bpe().save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    for text in texts:
        ids = ours.encode(text, parse_special=False)
        assert b"".join(map(ours.token_bytes, ids)) == text.encode()
    assert ours.token_bytes(3) == b"<|im_start|>"
    alphabet = {ours.token_bytes(i) for i in range(5, 261)}
    assert alphabet == {bytes([byte]) for byte in range(256)}
    assert ours.decode([next(i for i in range(5, 261) if ours.token_bytes(i) == b"\xf0")]) == "\ufffd"


@pytest.mark.parametrize("token_id", [-1, 420, 10**12])
def test_an_id_outside_the_vocabulary_is_a_request_error(
    tmp_path: Path, train_bpe: Callable[..., tokenizers.Tokenizer], token_id: int
) -> None:
    train_bpe().save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    assert not ours.is_special(token_id)
    for use in (ours.token_bytes, ours.token_text, lambda i: ours.decode([i])):
        with pytest.raises(RequestError, match=f"Token id {token_id} is not in the vocabulary"):
            use(token_id)


@pytest.mark.parametrize(
    ("decoder", "reason"),
    [
        (None, "has no decoder"),
        (decoders.WordPiece(), 'not supported: {"type": "WordPiece"'),
        (decoders.Sequence([decoders.Replace(Regex("a+"), " ")]), "Regex"),
        (decoders.Strip(" ", left=1), "Strip"),
    ],
)
def test_a_decoder_that_is_not_supported_is_named(
    tmp_path: Path,
    train_bpe: Callable[..., tokenizers.Tokenizer],
    decoder: decoders.Decoder | None,
    reason: str,
) -> None:
    tokenizer = train_bpe()
    tokenizer.decoder = decoder
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(tmp_path)
    assert reason in str(caught.value)


def test_half_a_character_is_a_request_error(
    tmp_path: Path, sp_model: Path, train_bpe: Callable[..., tokenizers.Tokenizer]
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(sp_model.read_bytes())
    sentencepiece = load_tokenizer(tmp_path)
    train_bpe().save(str(tmp_path / "tokenizer.json"))
    for ours in (sentencepiece, load_tokenizer(tmp_path)):
        with pytest.raises(RequestError, match="half a surrogate pair at character 2"):
            ours.encode("ab\ud83d c")


def test_a_directory_without_a_tokenizer_lists_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"looked for tokenizer\.json, tekken\.json, tokenizer\.model"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", ["", "{", '{"version": "1.0"}', "[]", "[" * 100_000, '{"a":' * 100_000])
def test_a_broken_tokenizer_json_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json cannot be read") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vocab": {"a": 2**31}, "merges": []}, "A token has the id 2147483648; ids up to 4194303 are supported"),
        ({"continuing_subword_prefix": "##" * 9}, r"tokenizer\.json cannot be read"),  # on which the library panics
    ],
)
def test_whatever_the_library_does_of_a_model_is_one_line(
    tmp_path: Path, train_bpe: Callable[..., tokenizers.Tokenizer], change: dict[str, Any], reason: str
) -> None:
    content = json.loads(train_bpe().to_str())
    (tmp_path / "tokenizer.json").write_text(json.dumps({**content, "model": {**content["model"], **change}}))
    with pytest.raises(TokenizerError, match=reason) as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "steps",
    [
        [normalizers.Replace("a", "aa")] * 20_000,
        [normalizers.Replace(" ", "b" * 2000)],
        [normalizers.Prepend("c" * 2000)],
        [normalizers.Replace(Regex("x*"), "d")] * 11,
        [normalizers.Replace("", "d")] * 11,
        [normalizers.ByteLevel()] * 6,
        [normalizers.Precompiled(charsmap("e" * 400))] * 2,
    ],
)
def test_a_normalizer_that_makes_too_much_of_a_character_is_refused(
    tmp_path: Path, train_bpe: Callable[..., tokenizers.Tokenizer], steps: list[Any]
) -> None:
    backend = train_bpe()
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Sequence(steps)])
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="may make more than 1024 characters of one"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer.model"])
def test_other_threads_run_while_a_text_is_encoded(
    tmp_path: Path, sp_model: Path, train_bpe: Callable[..., tokenizers.Tokenizer], file: str
) -> None:
    (tmp_path / file).write_bytes(train_bpe().to_str().encode() if file == "tokenizer.json" else sp_model.read_bytes())
    tokenizer, may_run, ran = load_tokenizer(tmp_path), threading.Event(), threading.Event()
    threading.Thread(target=lambda: may_run.wait() and ran.set()).start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # seconds: from here on a thread runs only where another lets it
    try:
        may_run.set()
        for _ in range(1000):
            tokenizer.encode("the cat and the dog " * 1000)
            if ran.is_set():
                break
    finally:
        sys.setswitchinterval(interval)
    assert ran.is_set()


def test_encoding_starts_no_threads(tmp_path: Path, train_bpe: Callable[..., tokenizers.Tokenizer]) -> None:
    train_bpe().save(str(tmp_path / "tokenizer.json"))
    program = f"""if True:
        import os
        from pathlib import Path
        from llmrt.text.load_tokenizer import load_tokenizer
        tokenizer = load_tokenizer(Path({str(tmp_path)!r}))
        before = os.listdir("/proc/self/task")
        tokenizer.encode("the cat")
        assert os.listdir("/proc/self/task") == before"""
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_a_text_that_the_vocabulary_cannot_spell_is_a_request_error(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(models.WordLevel({"b": 0}, unk_token="?"))
    backend.decoder = decoders.ByteLevel()
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("b") == [0]
    with pytest.raises(RequestError, match=r"fails on this text: .*UNK"):
        tokenizer.encode("a")


def test_an_error_of_the_library_without_words_is_named() -> None:
    with pytest.raises(TokenizerError, match=r"^x cannot be read: MemoryError\.$"), library_errors("x cannot be read"):
        raise MemoryError


@pytest.mark.parametrize("content", ["{", "[]", "\xff", "[" * 100_000, '{"a":' * 100_000, "1" * 5000])
def test_a_broken_config_is_one_line(
    tmp_path: Path, train_bpe: Callable[..., tokenizers.Tokenizer], content: str
) -> None:
    train_bpe().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)
