"""Texts that the model continues, without a chat template: from a checked body to a reply."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmrt.errors import RequestError
from llmrt.server.reply import Reply, admit, check_body
from llmrt.server.sampling import check_ids
from llmrt.server.schemas import CompletionBody
from llmrt.server.state import ServerState
from llmrt.server.structured import body_grammar


async def admit_text(
    state: ServerState, body: CompletionBody, *, max_tokens: int | None, unused: Sequence[str] = ()
) -> Reply:
    """Check the body and encode its prompts; raises ``LlmrtError`` for what cannot be answered."""
    check_body(state, body)
    if max_tokens == 0 and not body.echo:
        raise RequestError("max_tokens is 0; without echo it must be at least 1.", param="max_tokens")
    prompts = await asyncio.to_thread(_encode, state, body)
    grammar = await asyncio.to_thread(body_grammar, body)
    return admit(
        state,
        body,
        prompts,
        id_prefix="cmpl-",
        prompt_param="prompt",
        max_tokens=max_tokens,
        logprobs=body.logprobs,
        prompt_logprobs=body.logprobs if body.echo else None,
        strip_leading_space=False,
        grammar=grammar,
        unused=unused,
    )


def _encode(state: ServerState, body: CompletionBody) -> list[list[int]]:
    prompts: list[list[int]] = []
    for prompt in body.prompt:
        if isinstance(prompt, str):
            special = body.add_special_tokens is not False
            prompts.append(state.model.tokenizer.encode(prompt, add_special_tokens=special))
        else:
            check_ids(prompt, state.engine.info.vocab_size, "prompt")
            prompts.append(prompt)
    if not all(prompts):
        raise RequestError("The prompt is empty: it has no tokens.", param="prompt")
    return prompts
