"""How a Hugging Face vocabulary spells bytes, read from the decoder of its tokenizer.json.

The decoders of the tokenizers library turn a whole list of tokens into text; a stream needs the bytes of one
token. Supported are the two spellings that language models use: byte-level BPE (each byte is a printable
character, a space is "Ġ") and sentencepiece ("▁" for a space, "<0x0A>" for a byte without a token).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokenizers.decoders import Decoder

from llmrt.errors import TokenizerError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True)
class TokenSpelling:
    """``strips_leading_space``: the first space of a text came from the encoder and is not part of it."""

    byte_level: bool = False
    byte_fallback: bool = False
    replacements: tuple[tuple[str, str], ...] = ()
    fused: bool = False
    strips_leading_space: bool = False

    def to_bytes(self, token: str) -> bytes:
        """The bytes that a token of the vocabulary, not an added one, puts into a text."""
        if self.byte_level:
            return byte_level_bytes(token)
        if self.byte_fallback and (byte := _BYTE_TOKEN.fullmatch(token)):
            return bytes.fromhex(byte[1])
        for old, new in self.replacements:
            token = token.replace(old, new)
        return token.encode("utf-8")


def spelling_of(decoder: Decoder | None) -> TokenSpelling:
    """The spelling that ``decoder`` undoes; ``TokenizerError`` names a decoder that is not supported."""
    if decoder is None:
        raise TokenizerError("tokenizer.json has no decoder, so its tokens cannot be joined to text.")
    description: dict[str, Any] = json.loads(decoder.__getstate__())  # type: ignore[attr-defined]
    spelling = TokenSpelling()
    for step in description.get("decoders", [description]):
        spelling = _with_step(spelling, step)
    return spelling


def byte_level_bytes(token: str) -> bytes:
    """The bytes of a byte-level token; one with a character of no byte stands for its own UTF-8."""
    try:
        return bytes(_BYTE_OF_CHARACTER[character] for character in token)
    except KeyError:
        return token.encode("utf-8")


def byte_level_text(token: bytes) -> str:
    """Such a token as the vocabulary spells it."""
    return token.decode("latin-1").translate(_CHARACTER_OF_BYTE)


def _with_step(spelling: TokenSpelling, step: Mapping[str, Any]) -> TokenSpelling:
    match step:
        case {"type": "ByteLevel"}:
            return replace(spelling, byte_level=True)
        case {"type": "ByteFallback"}:
            return replace(spelling, byte_fallback=True)
        case {"type": "Fuse"}:
            return replace(spelling, fused=True)
        case {"type": "Replace", "pattern": {"String": old}, "content": new}:
            return replace(spelling, replacements=(*spelling.replacements, (old, new)))
        case {"type": "Metaspace", "replacement": old, **rest}:
            strips = rest.get("prepend_scheme", "always") != "never" and rest.get("add_prefix_space", True)
            pairs = (*spelling.replacements, (old, " "))
            return replace(spelling, replacements=pairs, strips_leading_space=strips)
        case {"type": "Strip", "content": " ", "start": 0 | 1 as start, "stop": 0} if spelling.fused:
            return replace(spelling, strips_leading_space=start == 1)
        case _:
            raise TokenizerError(f"tokenizer.json has a decoder that is not supported: {json.dumps(step)}.")


def _byte_characters() -> dict[str, int]:
    """Printable Latin-1 stands for itself; the other bytes, in order, are the characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_OF_CHARACTER = _byte_characters()
_CHARACTER_OF_BYTE = {byte: character for character, byte in _BYTE_OF_CHARACTER.items()}
