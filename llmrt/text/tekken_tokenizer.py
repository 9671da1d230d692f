"""Mistral's tekken.json: the tokens of a byte-level BPE by rank, behind special tokens, which have the first ids.

    {"config": {"pattern": .., "default_vocab_size": V, "default_num_special_tokens": S},
     "vocab": [{"rank": 0, "token_bytes": base64}, ..],            token S + rank, up to V
     "special_tokens": [{"rank": 0, "token_str": "<unk>", "is_control": true}, ..]}

Two neighbours are joined if what they make is a token, that of the lowest rank first. The tokenizers library wants each
such pair by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import tokenizers
from msgspec import Meta
from tokenizers import AddedToken, Regex, decoders, pre_tokenizers, processors
from tokenizers.models import BPE

from llmrt.errors import TokenizerError
from llmrt.text.hf_tokenizer import MOST_IDS, HfTokenizer, library_errors
from llmrt.text.model_files import end_token_ids
from llmrt.text.token_spelling import byte_level_text

BEGINNING, END = "<s>", "</s>"  # what stands around texts, which the file itself does not say
# Of files that list none, which are those of the versions up to 7.
_NAMES = (
    *("<unk>", BEGINNING, END, "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]"),
    *("[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"),
)


class _Config(msgspec.Struct):
    pattern: str
    default_vocab_size: Annotated[int, Meta(le=MOST_IDS)]
    default_num_special_tokens: Annotated[int, Meta(le=MOST_IDS)]
    version: str = ""


class _Token(msgspec.Struct):
    rank: int
    token_bytes: bytes


class _Special(msgspec.Struct):
    rank: int
    token_str: str
    is_control: bool = True


class Tekken(msgspec.Struct):
    """The file, see above."""

    config: _Config
    vocab: list[_Token]
    special_tokens: list[_Special] | None = None


def read_tekken(directory: Path) -> Tekken:
    """What ``directory / "tekken.json"`` says. Raises ``TokenizerError``."""
    path = directory / "tekken.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Tekken)
    except OSError as error:
        raise TokenizerError(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TokenizerError(f"{path} is no tokenizer of Mistral's: {error}.") from error


def load_tekken_tokenizer(directory: Path) -> HfTokenizer:
    """The tokenizer of ``directory / "tekken.json"``. Raises ``TokenizerError`` for what it cannot be."""
    tekken = read_tekken(directory)
    with library_errors(directory / "tekken.json"):
        backend = _backend(tekken)
    bos, eos = backend.token_to_id(BEGINNING), backend.token_to_id(END)
    return HfTokenizer(backend, bos_token_id=bos, eos_token_ids=end_token_ids(directory, eos))


def _backend(tekken: Tekken) -> tokenizers.Tokenizer:
    special, ranks = _special_tokens(tekken), _ranks(tekken)
    ids = {token.token_str: token.rank for token in special}
    for token, rank in ranks.items():
        if ids.setdefault(token, len(special) + rank) != len(special) + rank:
            raise TokenizerError(f"{token!r} is a special token and one of the vocabulary.")
    backend = tokenizers.Tokenizer(BPE(ids, _pairs(ranks), ignore_merges=True))
    split = pre_tokenizers.Split(Regex(tekken.config.pattern), "isolated")
    spelled = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, spelled])
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens([AddedToken(t.token_str, special=t.is_control, normalized=False) for t in special])
    if BEGINNING in ids:
        beginning = (BEGINNING, ids[BEGINNING])
        backend.post_processor = processors.TemplateProcessing(single=f"{BEGINNING} $A", special_tokens=[beginning])
    return backend


def _special_tokens(tekken: Tekken) -> list[_Special]:
    """All of them by id; those without a name are called <SPECIAL_20> and so on."""
    count, listed = tekken.config.default_num_special_tokens, tekken.special_tokens
    named = [_Special(rank, name) for rank, name in enumerate(_NAMES)] if listed is None else listed
    found = [*named, *(_Special(rank, f"<SPECIAL_{rank}>") for rank in range(len(named), count))]
    if [token.rank for token in found] != list(range(count)):
        raise TokenizerError(f"special_tokens must have the ranks 0 to {count - 1} in turn.")
    if len({token.token_str for token in found}) != count:
        raise TokenizerError("special_tokens has a name twice.")
    return found


def _ranks(tekken: Tekken) -> dict[str, int]:
    """By the spelling of tokens, a character for each byte."""
    count = tekken.config.default_vocab_size - tekken.config.default_num_special_tokens
    if not 256 <= count <= len(tekken.vocab):
        raise TokenizerError(f"default_vocab_size asks for {count} tokens; vocab has {len(tekken.vocab)}.")
    ranks = {byte_level_text(token.token_bytes): token.rank for token in tekken.vocab[:count]}
    if list(ranks.values()) != list(range(count)):
        raise TokenizerError(f"vocab must have the ranks 0 to {count - 1} in turn, each of other bytes.")
    if any(byte_level_text(bytes([byte])) not in ranks for byte in range(256)):
        raise TokenizerError("vocab lacks a byte.")
    return ranks


def _pairs(ranks: dict[str, int]) -> list[tuple[str, str]]:
    """Every pair of tokens that makes a token, by the rank of that."""
    found: list[tuple[str, str]] = []
    for token in ranks:
        cuts = [i for i in range(1, len(token)) if token[:i] in ranks and token[i:] in ranks]
        pairs = [(token[:i], token[i:]) for i in cuts]
        found += sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return found
