"""Bodies that a server must refuse or answer, never fail at: valid ones, broken at random."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

_MESSAGES = [{"role": "user", "content": "Hello"}]
_SHORT = {"model": "model", "max_tokens": 2, "temperature": 0}
_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}

# Every route that takes a body, with one that it would answer.
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/completions": {**_SHORT, "prompt": "Hello", "stop": ["x"], "n": 1, "logprobs": 1, "seed": 1},
    "/v1/chat/completions": {**_SHORT, "messages": _MESSAGES, "tools": [_TOOL], "logprobs": True, "top_logprobs": 2},
    "/v1/responses": {"model": "model", "max_output_tokens": 2, "input": "Hello"},
    "/v1/messages": {**_SHORT, "messages": _MESSAGES, "system": "Be short."},
    "/v1/messages/count_tokens": {"model": "model", "messages": _MESSAGES},
    "/v1/embeddings": {"model": "model", "input": ["Hello", "World"]},
    "/tokenize": {"model": "model", "prompt": "Hello"},
    "/detokenize": {"model": "model", "tokens": [100, 200]},
    "/apply-template": {"model": "model", "messages": _MESSAGES},
}

_WRONG: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 10**30, -0.5, 1e308, "", "\u0000", "\ud83d\ude00" * 50, [], [[]], [None], {}, {"": {}}),
    *("a" * 5000, [1, "a", None], {"type": "text"}, [{"role": "robot"}], [10**9] * 3, float("nan"), float("inf")),
)


def malformed(draw: random.Random) -> tuple[str, bytes]:
    """A route, and a body for it of which something is wrong, or by chance nothing."""
    path = draw.choice(list(ROUTES))
    body = json.loads(json.dumps(ROUTES[path]))
    for _ in range(draw.randint(1, 3)):
        _spoil(body, draw)
    content = json.dumps(body).encode()
    how = draw.random()
    if how < 0.1:
        return path, content[: draw.randrange(len(content))]
    if how < 0.2:
        at = draw.randrange(len(content))
        return path, content[:at] + draw.randbytes(3) + content[at + 3 :]
    return path, content


def _spoil(value: Any, draw: random.Random) -> None:
    """Replace, remove or add something at any depth."""
    if isinstance(value, list) and value:
        place = draw.randrange(len(value))
    elif isinstance(value, dict) and value:
        place = draw.choice(list(value))
    else:
        return
    if isinstance(value[place], (list, dict)) and value[place] and draw.random() < 0.6:
        _spoil(value[place], draw)
    elif draw.random() < 0.2:
        del value[place]
    else:
        value[place] = deepcopy(draw.choice(_WRONG))
