"""Answers without a model: at each place any of the tokens that the grammar allows, by chance."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from llmrt.text.grammar import parser_limits
from llmrt.text.grammar_vocabulary import byte_vocabulary

MAX_TOKENS = 1500
_CLOSING = (b"}", b"]", b'"', b'"}', b'"]', b"null")


@dataclass
class Walk:
    """``text`` is None for an answer that came to no end; ``seconds`` has the time of each mask after the first."""

    text: str | None
    seconds: list[float] = field(default_factory=list[float])


class Walker:
    """Walks through grammars over a vocabulary, whose ``tokens`` are bytes by id."""

    def __init__(self, vocabulary: LLTokenizer, tokens: Sequence[bytes]) -> None:
        self._vocabulary = vocabulary
        self._tokens = tokens
        self._ends = vocabulary.eos_tokens
        self._letters = [i for i, token in enumerate(tokens) if len(token) == 1 and token.isalnum()]
        self._printable = [i for i, token in enumerate(tokens) if len(token) == 1 and 32 <= token[0] < 127]
        self._closing = [tokens.index(token) for token in _CLOSING if token in tokens]

    def walk(self, grammar: str, rng: random.Random) -> Walk:
        """An answer; from some length on it closes what is open wherever it may. Raises ``ValueError`` if it fails."""
        matcher = LLMatcher(self._vocabulary, grammar, log_level=0, limits=parser_limits())
        mask, patience = matcher.compute_bitmask(), rng.choice([5, 20, 60])
        data, walk = bytearray(), Walk(None)
        for count in range(MAX_TOKENS):
            if matcher.is_error():
                raise ValueError(matcher.get_error())
            token_id = self._choose(mask, rng, hurried=count > patience)
            if token_id in self._ends:
                walk.text = data.decode("utf-8")
                break
            data += self._tokens[token_id]
            began = time.perf_counter()
            matcher.consume_token(token_id)
            mask = matcher.compute_bitmask()
            walk.seconds.append(time.perf_counter() - began)
        return walk

    def accepts(self, grammar: str, text: str) -> bool:
        """Whether ``text`` is an answer as a whole. The vocabulary is one of bytes."""
        matcher = LLMatcher(self._vocabulary, grammar, log_level=0, limits=parser_limits())
        tokens = [*text.encode("utf-8")]
        return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()

    def _choose(self, mask: bytes, rng: random.Random, *, hurried: bool) -> int:
        allowed = np.flatnonzero(np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")).tolist()
        others = [i for i in allowed if i not in self._ends]
        if len(others) < len(allowed) and (hurried or not others or rng.random() < 0.3):
            return next(i for i in self._ends if i in allowed)
        if hurried:
            wanted = rng.choice((self._closing, self._letters, self._printable))
            return rng.choice([i for i in wanted if i in others] or others)
        return rng.choice(others)


def byte_walker() -> Walker:
    """Walks over a vocabulary of bytes."""
    return Walker(byte_vocabulary(), [*(bytes([i]) for i in range(256)), b""])
