"""From the deltas of a reply to a response, as a whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from llmrt.server.blocks import Block, Blocks, whole_answer
from llmrt.server.choice import ReportedToken
from llmrt.server.dialects.responses.body import AnyTool, FunctionTool, ResponsesBody
from llmrt.server.dialects.responses.records import (
    FunctionCallItem,
    IncompleteDetails,
    InputTokensDetails,
    Item,
    ItemStatus,
    MessageItem,
    OutputText,
    OutputTokensDetails,
    ReasoningItem,
    ReasoningShown,
    ReasoningText,
    ResponseError,
    ResponseObject,
    ResponseUsage,
    Status,
    TextShown,
    ToolShown,
)
from llmrt.server.logprobs import chat_logprobs
from llmrt.server.reply import Reply
from llmrt.server.responses import ChatTokenLogprob


@dataclass(frozen=True)
class Answer:
    """The answer to ``body`` while it comes."""

    body: ResponsesBody
    reply: Reply
    blocks: Blocks

    @property
    def is_cut(self) -> bool:
        """Whether its length ended it."""
        return self.blocks.last is not None and self.blocks.last.finish_reason == "length"

    def response(self, status: Status, error: ResponseError | None = None) -> ResponseObject:
        """The response as it is now."""
        body, reply = self.body, self.reply
        params, ended = reply.job.params, status != "in_progress"
        return ResponseObject(
            id=reply.job.id,
            created_at=reply.created,
            completed_at=int(time.time()) if status == "completed" else None,
            model=reply.state.model.id,
            status=status,
            output=self._items(status) if ended else [],
            usage=self._usage() if ended else None,
            error=error,
            incomplete_details=IncompleteDetails() if status == "incomplete" else None,
            instructions=body.instructions,
            max_output_tokens=body.max_output_tokens,
            metadata=body.metadata or {},
            temperature=params.temperature,
            top_p=params.top_p,
            frequency_penalty=params.frequency_penalty,
            presence_penalty=params.presence_penalty,
            tools=_shown(body.tools or []),
            tool_choice="auto" if body.tool_choice is None else body.tool_choice,
            parallel_tool_calls=body.parallel_tool_calls is not False,
            text=TextShown({"type": "text"} if body.text is None or not body.text.format else body.text.format),
            max_tool_calls=body.max_tool_calls,
            prompt_cache_key=body.prompt_cache_key,
            safety_identifier=body.safety_identifier,
            top_logprobs=body.top_logprobs or 0,
            reasoning=ReasoningShown(None if body.reasoning is None else body.reasoning.effort),
        )

    def item(self, block: Block, status: ItemStatus) -> Item:
        """A block as an item of the output."""
        name = f"{self.reply.job.id.removeprefix('resp_')}_{block.index}"
        match block.kind:
            case "text":
                content = [] if status == "in_progress" else [self.text(block)]
                return MessageItem(f"msg_{name}", status, content)
            case "reasoning":
                thoughts = [] if status == "in_progress" else [ReasoningText(block.text)]
                return ReasoningItem(f"rs_{name}", status, thoughts)
            case "call":
                return FunctionCallItem(f"fc_{name}", status, block.id, block.name, block.text)

    def text(self, block: Block) -> OutputText:
        """All of a block of text."""
        return OutputText(block.text, logprobs=self.logprobs(block.logprobs))

    def logprobs(self, tokens: Sequence[ReportedToken]) -> list[ChatTokenLogprob]:
        """As a chat shows them."""
        return chat_logprobs(self.reply.state.model.tokenizer, tokens).content

    def end_of(self, block: Block) -> ItemStatus:
        """How a block ended: only what came last can have been cut off."""
        return "incomplete" if self.is_cut and block is self.blocks.whole[-1] else "completed"

    def _items(self, status: Status) -> list[Item]:
        items = [self.item(block, "completed") for block in self.blocks.whole]
        if items and status != "completed":
            items[-1] = self.item(self.blocks.whole[-1], "incomplete")
        return items

    def _usage(self) -> ResponseUsage:
        usage = self.reply.count.usage
        return ResponseUsage(
            usage.prompt_tokens,
            InputTokensDetails(usage.prompt_tokens_details.cached_tokens),
            usage.completion_tokens,
            OutputTokensDetails(usage.completion_tokens_details.reasoning_tokens),
            usage.total_tokens,
        )


async def whole_response(body: ResponsesBody, reply: Reply) -> ResponseObject:
    """Wait for the whole answer."""
    answer = Answer(body, reply, await whole_answer(reply.deltas()))
    return answer.response("incomplete" if answer.is_cut else "completed")


def _shown(tools: Sequence[AnyTool]) -> list[ToolShown]:
    functions = [tool for tool in tools if isinstance(tool, FunctionTool)]
    return [ToolShown(tool.name, tool.description, tool.parameters, tool.strict) for tool in functions]
