"""LangChain's standard tests of a chat model, by its client for OpenAI: https://pypi.org/project/langchain-tests/."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import MODEL
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class TestChatOpenAI(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _server(self, smollm2: str) -> None:
        self.url = f"{smollm2}/v1"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # With a URL of its own, the client asks for the usage of streams only when it is told to. The penalty is for
        # a small model that repeats itself within a string, or its call, until it is cut off.
        ask = {"model": MODEL, "temperature": 0, "frequency_penalty": 1.5, "max_tokens": 200, "stream_usage": True}
        return ask | {"base_url": self.url, "api_key": "none", "max_retries": 0}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return MODEL

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    # What follows is beyond a model of this size, but must not be an error of the server's.

    @pytest.mark.xfail(reason="of its own accord it calls no tool", raises=AssertionError)
    def test_agent_loop(self, model: BaseChatModel) -> None:
        super().test_agent_loop(model)

    @pytest.mark.xfail(reason="it writes JSON, but not with the keys that it was told", raises=OutputParserException)
    def test_json_mode(self, model: BaseChatModel) -> None:
        super().test_json_mode(model)

    @pytest.mark.xfail(reason="it does not repeat a name in Chinese", raises=AssertionError)
    def test_unicode_tool_call_integration(self, model: BaseChatModel, **_: Any) -> None:
        super().test_unicode_tool_call_integration(model)
