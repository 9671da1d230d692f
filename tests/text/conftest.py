"""Small vocabularies, trained here, in the three forms that models come in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import sentencepiece
from gguf import GGUFWriter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CORPUS = """The quick brown fox jumps over the lazy dog. Language models read tokens and write tokens.
def add(a, b): return a + b  # they're adding; it's what they'd do, isn't it? We'll see, I'm sure.
Once upon a time there was a small runtime that ran on one machine and answered every request.
Bread, water, salt and time make good bread; patience makes it better. 12345 12345 3.14159 2024 2024 2024 2023 1234
for i in range(10):    print(i)        # eight   spaces
日本語の文章もあります。東京は大きい。 Ünïcödé naïve café, déjà vu; Ελληνικά и русский.
""".splitlines()

SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Odd things to encode."""
    return [
        "",
        " ",
        "Hello world",
        "  two spaces in front, and after  ",
        "the cat 🎉🎊 👩‍👩‍👧‍👦 sat",
        "日本語のトークン。𠮷野家",
        "e\u0301 vs é, \u0928\u093f and ก็",
        "def f(x):\n\treturn x  # 12345\r\n\r\n\n    if x:\n",
        "\n\n\n   \t \u3000 \u00a0x",
        "<|im_start|>user\nHi</s> there<|im_end|>\n<s>",
        "I'M here, WE'll see; they're 3.14159 and ٣٤ and Ⅷ",
        "a\x00b \x7f \u200b \ufeff|",
        "▁under▁score <0x0A> <unk> Ġ",
    ]


@pytest.fixture(scope="session")
def train_bpe() -> Callable[..., Tokenizer]:
    """Train a byte-level BPE vocabulary behind a pre-tokenizer."""

    def train(pre_tokenizer: pre_tokenizers.PreTokenizer | None = None, **model: object) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE(**model))
        tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=SPECIAL_TOKENS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(CORPUS, trainer)
        return tokenizer

    return train


@pytest.fixture(scope="session")
def sp_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer.model in the manner of Llama 2."""
    folder = tmp_path_factory.mktemp("sentencepiece")
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(CORPUS),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        split_digits=True,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        character_coverage=0.98,
        minloglevel=2,
    )
    return folder / "tokenizer.model"


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[str, object], Path]:
    """Write a JSON file into the model directory ``tmp_path``."""

    def write(name: str, value: object) -> Path:
        (tmp_path / name).write_text(json.dumps(value), encoding="utf-8")
        return tmp_path / name

    return write


@pytest.fixture
def write_gguf(tmp_path: Path) -> Callable[[Mapping[str, object]], Path]:
    """Write a GGUF file of metadata alone."""

    def write(fields: Mapping[str, object]) -> Path:
        path = tmp_path / "model.gguf"
        writer = GGUFWriter(path, "llama")
        for key, value in fields.items():
            add_field(writer, key, value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        return path

    return write


def add_field(writer: GGUFWriter, key: str, value: object) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case list():
            writer.add_array(key, value)
        case _:
            raise TypeError(key)


@pytest.fixture(scope="session")
def bpe_fields() -> Callable[..., dict[str, object]]:
    """The metadata of a GGUF file with the vocabulary of a ``tokenizers.Tokenizer``."""

    def fields(tokenizer: Tokenizer, pre: str | None) -> dict[str, object]:
        model = json.loads(tokenizer.to_str())["model"]
        by_id = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        added = {i: token.special for i, token in tokenizer.get_added_tokens_decoder().items()}
        kinds = {None: 1, True: 3, False: 4}
        values: dict[str, object] = {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.tokens": [token for token, _ in by_id],
            "tokenizer.ggml.token_type": [kinds[added.get(i)] for _, i in by_id],
            "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
        }
        return values if pre is None else {**values, "tokenizer.ggml.pre": pre}

    return fields


@pytest.fixture(scope="session")
def sp_fields(sp_model: Path) -> dict[str, object]:
    """The metadata of a GGUF file with the vocabulary of ``sp_model``."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(sp_model))
    ids = range(processor.GetPieceSize())
    unknown, control, byte = processor.IsUnknown, processor.IsControl, processor.IsByte
    kinds = [2 if unknown(i) else 3 if control(i) else 6 if byte(i) else 1 for i in ids]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [processor.IdToPiece(i) for i in ids],
        "tokenizer.ggml.scores": [processor.GetScore(i) for i in ids],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
