"""A sentencepiece vocabulary: the tokenizer.model of Llama 2 and Mistral, or one described by a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from llmrt.errors import CheckpointError
from llmrt.text.added_tokens import AddedTokenSplitter
from llmrt.text.model_files import declared_tokens, end_token_ids, read_json, special_token_texts
from llmrt.text.sp_model import BYTE, SPECIAL_TYPES, make_processor, read_model
from llmrt.text.tokenizer import Tokenizer, check_surrogates, unknown_token


@dataclass(frozen=True, kw_only=True)
class SpOptions:
    """What a vocabulary does around a text and between the parts that added tokens cut it into.

    The model file's dummy prefix (a space) goes before the first part; ``prefix_every_part`` puts it before
    the part after each added token as well.
    """

    bos_token_id: int | None
    eos_token_id: int | None
    eos_token_ids: frozenset[int]
    add_bos: bool = True
    add_eos: bool = False
    prefix_every_part: bool = False


class SpTokenizer(Tokenizer):
    """``Tokenizer`` over a sentencepiece model and the tokens that were added to it."""

    def __init__(self, model: Any, added: Mapping[int, AddedToken], options: SpOptions) -> None:
        self._pieces = [(piece.piece, piece.type) for piece in model.pieces]
        self._added = added
        self._before = [] if not options.add_bos or options.bos_token_id is None else [options.bos_token_id]
        self._after = [] if not options.add_eos or options.eos_token_id is None else [options.eos_token_id]
        self._prefix_every_part = options.prefix_every_part
        self._splitter = AddedTokenSplitter(added)
        self._literal_splitter = AddedTokenSplitter({i: t for i, t in added.items() if not t.special})
        self.strips_leading_space = model.normalizer_spec.add_dummy_prefix
        self._prefixing = make_processor(model)
        model.normalizer_spec.add_dummy_prefix = False
        self._plain = make_processor(model)
        self.vocab_size = max(len(self._pieces), max(added, default=-1) + 1)
        self.bos_token_id = options.bos_token_id
        self.eos_token_ids = options.eos_token_ids

    def encode(self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True) -> list[int]:
        """See ``Tokenizer.encode``."""
        check_surrogates(text)
        ids = list[int]()
        splitter = self._splitter if parse_special else self._literal_splitter
        for position, part in enumerate(splitter.split(text)):
            if isinstance(part, int):
                ids.append(part)
            else:
                prefixed = position == 0 or self._prefix_every_part
                ids += (self._prefixing if prefixed else self._plain).EncodeAsIds(part)
        return [*self._before, *ids, *self._after] if add_special_tokens else ids

    def token_bytes(self, token_id: int) -> bytes:
        """See ``Tokenizer.token_bytes``."""
        text = self.token_text(token_id)
        if token_id in self._added:
            return text.encode("utf-8")
        if self._pieces[token_id][1] == BYTE:
            return bytes.fromhex(text[3:5])
        return text.replace("▁", " ").encode("utf-8")

    def token_text(self, token_id: int) -> str:
        """See ``Tokenizer.token_text``."""
        if token_id in self._added:
            return self._added[token_id].content
        if not 0 <= token_id < len(self._pieces):
            raise unknown_token(token_id, self.vocab_size)
        return self._pieces[token_id][0]

    def is_special(self, token_id: int) -> bool:
        """See ``Tokenizer.is_special``."""
        if token_id in self.eos_token_ids or token_id == self.bos_token_id:
            return True
        if token_id in self._added:
            return self._added[token_id].special
        return 0 <= token_id < len(self._pieces) and self._pieces[token_id][1] in SPECIAL_TYPES


def load_sp_tokenizer(directory: Path) -> SpTokenizer:
    """The tokenizer of ``directory / "tokenizer.model"``, with the options of tokenizer_config.json.

    ``add_bos_token`` is true and ``add_eos_token``, ``legacy`` false where the file does not say. ``legacy``
    puts the prefix space after each added token, not only at the start of the text.
    """
    model = read_model(directory / "tokenizer.model")
    names = special_token_texts(directory)
    added = {**_model_specials(model), **declared_tokens(directory)}
    prefix = _flag(directory, "add_prefix_space", default=model.normalizer_spec.add_dummy_prefix)
    model.normalizer_spec.add_dummy_prefix = prefix
    ids = {piece.piece: i for i, piece in enumerate(model.pieces)}
    ids |= {token.content: i for i, token in added.items()}
    eos = ids.get(names.get("eos_token", model.trainer_spec.eos_piece))
    options = SpOptions(
        bos_token_id=ids.get(names.get("bos_token", model.trainer_spec.bos_piece)),
        eos_token_id=eos,
        eos_token_ids=end_token_ids(directory, eos),
        add_bos=_flag(directory, "add_bos_token", default=True),
        add_eos=_flag(directory, "add_eos_token", default=False),
        prefix_every_part=_flag(directory, "legacy", default=False),
    )
    return SpTokenizer(model, added, options)


def _model_specials(model: Any) -> dict[int, AddedToken]:
    """Control tokens are never found by sentencepiece itself; a prompt may name them."""
    return {
        i: AddedToken(piece.piece, special=True, normalized=False)
        for i, piece in enumerate(model.pieces)
        if piece.type in SPECIAL_TYPES
    }


def _flag(directory: Path, name: str, *, default: bool) -> bool:
    value = read_json(directory / "tokenizer_config.json").get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise CheckpointError(f"{directory / 'tokenizer_config.json'}: {name} is {value!r}; expected a boolean.")
    return value
