"""What the log says of prompts: their tokens' number, and their text where the server was told to."""

from __future__ import annotations

import json
from collections.abc import Sequence

from llmrt.server.exchange import TokenCount, current_exchange
from llmrt.server.logs import log
from llmrt.server.state import ServerState


def note_prompts(state: ServerState, prompts: Sequence[list[int]]) -> TokenCount:
    """The request of this context has ``prompts``; returns where the tokens of its answers are counted."""
    exchange = current_exchange()
    exchange.tokens = TokenCount(sum(map(len, prompts)))
    if state.settings.log_prompts:
        for prompt in prompts:
            text = state.model.tokenizer.decode(prompt, skip_special_tokens=False)
            log("prompt", f"{exchange} prompt {json.dumps(text)}", {"request_id": exchange.id, "prompt": text})
    return exchange.tokens
