"""Frameworks that ask for answers of a form and call functions: Pydantic AI and OpenAI's Agents SDK."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from agents import Agent as OpenAIAgent
from agents import ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from agents import OpenAIResponsesModel as AgentsResponses
from conftest import MODEL
from openai import AsyncOpenAI
from pydantic import BaseModel, Field
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

ASK = "A city: Paris has 2 million people."
set_tracing_disabled(True)


class City(BaseModel):
    name: Literal["Paris", "Rome"]
    millions: Annotated[int, Field(ge=1, le=40)]


@pytest.mark.parametrize("output", [ToolOutput(City), NativeOutput(City)], ids=["tool", "schema"])
@pytest.mark.parametrize("model", [OpenAIChatModel, OpenAIResponsesModel])
async def test_pydantic_ai(smollm2: str, model: Any, output: Any) -> None:
    provider = OpenAIProvider(base_url=f"{smollm2}/v1", api_key="none")
    agent = Agent(model(MODEL, provider=provider), output_type=output, model_settings={"temperature": 0})
    assert isinstance((await agent.run(ASK)).output, City)
    async with agent.run_stream(ASK) as stream:
        assert isinstance(await stream.get_output(), City)


@pytest.mark.parametrize("model", [OpenAIChatCompletionsModel, AgentsResponses])
async def test_agents_sdk(smollm2: str, model: Any) -> None:
    asked: list[str] = []

    @function_tool
    def weather(city: Literal["Paris", "Rome"]) -> str:
        """The weather of a city."""
        asked.append(city)
        return "sunny"

    async with AsyncOpenAI(base_url=f"{smollm2}/v1", api_key="none", max_retries=0) as client:
        settings = ModelSettings(tool_choice="required", parallel_tool_calls=False, temperature=0, max_tokens=200)
        agent = OpenAIAgent(name="a", model=model(MODEL, client), tools=[weather], model_settings=settings)
        whole = await Runner.run(agent, "What is the weather in Paris?", max_turns=3)
        streamed = Runner.run_streamed(agent, "What is the weather in Paris?", max_turns=3)
        events = [event.type async for event in streamed.stream_events()]
    assert asked == ["Paris", "Paris"] and "raw_response_event" in events
    assert whole.final_output == streamed.final_output
