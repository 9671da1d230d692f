"""From the fields of a request body to ``SamplingParams``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from llmrt.engine.request import MAX_BIAS, SamplingParams, check_token_ids
from llmrt.errors import ContextLengthError, RequestError
from llmrt.server.schemas import GenerationBody, TokenBias
from llmrt.server.served_model import ServedModel
from llmrt.server.state import ServerState
from llmrt.text.tokenizer import Tokenizer

T = TypeVar("T")
_SEEDS = 1 << 63  # a seed is a 63-bit number in the engine


def sampling_params(
    state: ServerState,
    body: GenerationBody,
    *,
    logprobs: int | None,
    prompt_logprobs: int | None = None,
    grammar: str | None,
) -> SamplingParams:
    """What the body asks for, and the model's own defaults where it asks for nothing; ``max_tokens`` is left out.

    ``prompt_logprobs`` are those of an echo, ``grammar`` is the body's, compiled. Raises ``RequestError`` naming the
    first field that cannot be served.
    """
    defaults, plain, vocab_size = state.model.defaults, SamplingParams(), state.engine.info.vocab_size
    stop_token_ids = _stop_token_ids(body, state.model, vocab_size)
    biases, never = _biases(body.logit_bias, state.model.tokenizer)
    check_ids((token_id for (token_id,) in never), vocab_size, "logit_bias")
    params = SamplingParams(
        temperature=_first(body.temperature, defaults.temperature, plain.temperature),
        top_k=max(0, _first(body.top_k, defaults.top_k_within(vocab_size), plain.top_k)),
        top_p=_first(body.top_p, defaults.top_p, plain.top_p),
        min_p=_first(body.min_p, defaults.min_p, plain.min_p),
        repetition_penalty=_first(body.repetition_penalty, defaults.repetition_penalty, plain.repetition_penalty),
        frequency_penalty=_first(body.frequency_penalty, None, plain.frequency_penalty),
        presence_penalty=_first(body.presence_penalty, None, plain.presence_penalty),
        logit_bias=biases,
        allowed_token_ids=tuple(dict.fromkeys(body.allowed_token_ids or ())),
        bad_words=(*never, *_bad_words(body.bad_words or (), state.model.tokenizer)),
        seed=body.seed,
        stop_token_ids=stop_token_ids,
        min_tokens=(body.min_tokens or 0) if stop_token_ids else 0,  # where no token ends answers, none end too soon
        logprobs=logprobs,
        prompt_logprobs=body.prompt_logprobs if prompt_logprobs is None else prompt_logprobs,
        grammar=grammar,
    )
    params.validate(vocab_size)
    return params


def fit_max_tokens(num_prompt_tokens: int, max_tokens: int | None, context_length: int, *, param: str) -> int | None:
    """``max_tokens``, reduced to what the context leaves; ``ContextLengthError`` if it leaves nothing to be answered.

    ``param`` is the field that the prompt came from.
    """
    room = context_length - num_prompt_tokens
    if room < (max_tokens != 0):
        raise ContextLengthError(num_prompt_tokens, context_length, param=param)
    return None if max_tokens is None else min(max_tokens, room)


def with_seed(params: SamplingParams, offset: int) -> SamplingParams:
    """The parameters of the choice ``offset``: each has its own seed, and the same one every time."""
    if params.seed is None:
        return params
    return replace(params, seed=(params.seed + offset) % _SEEDS)


def _stop_token_ids(body: GenerationBody, model: ServedModel, vocab_size: int) -> frozenset[int]:
    asked = frozenset(body.stop_token_ids or ())
    check_ids(sorted(asked), vocab_size, "stop_token_ids")
    return asked if body.ignore_eos else asked | model.tokenizer.eos_token_ids


def _biases(asked: Iterable[TokenBias], tokenizer: Tokenizer) -> tuple[dict[int, float], set[tuple[int]]]:
    """The bias of each token that has one, and those that are never chosen, each a bad word by itself."""
    biases, never = defaultdict[int, list[float]](list), set[tuple[int]]()
    for token, bias in asked:
        of_text = isinstance(token, str)
        for token_id in tokenizer.encode(token, add_special_tokens=False, parse_special=False) if of_text else [token]:
            if bias is None:
                never.add((token_id,))
            else:
                biases[token_id].append(bias)
    return {token_id: _total(token_id, sent) for token_id, sent in biases.items()}, never


def _total(token_id: int, sent: Sequence[float]) -> float:
    """The biases of one token are added. Raises ``RequestError`` for a sum out of range, with what it is the sum of."""
    total = sum(sent)
    if len(sent) > 1 and not abs(total) <= MAX_BIAS:
        shown = " + ".join(map(str, sent[:3])) + (" + ..." if len(sent) > 3 else "")
        raise RequestError(
            f"logit_bias names token {token_id} {len(sent)} times, whose biases are added: "
            f"{shown} is {total}; it must be at least {-MAX_BIAS} and at most {MAX_BIAS}.",
            param="logit_bias",
        )
    return total


def _bad_words(words: Iterable[str], tokenizer: Tokenizer) -> Iterator[tuple[int, ...]]:
    """The tokens of each word as the first of a text and, as in vLLM, behind a space."""
    for word in words:
        bare = word.lstrip() or word
        spelt = [tuple(tokenizer.encode(text, add_special_tokens=False)) for text in (bare, f" {bare}")]
        yield from filter(None, spelt)


def check_ids(token_ids: Iterable[int], vocab_size: int, param: str) -> None:
    """Raise ``RequestError`` for a token id that the model does not have."""
    check_token_ids(f"{param} holds", token_ids, vocab_size, param=param)


def _first(asked: T | None, default: T | None, plain: T) -> T:
    return asked if asked is not None else default if default is not None else plain
