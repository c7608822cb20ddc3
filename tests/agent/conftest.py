from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from agent.chat import ChatAgent
from agent.models import choose_model
from tests.agent.conversation import Conversation
from tests.support.provider import Provider

MakeAgent = Callable[..., ChatAgent]

API_KEY = "sk-very-secret"


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    await provider.start()
    yield provider
    await provider.stop()


@pytest.fixture
def conversation() -> Conversation:
    return Conversation()


@pytest.fixture
async def make_agent(provider: Provider, conversation: Conversation) -> AsyncIterator[MakeAgent]:
    """Makes agents that reach the provider over HTTP, and closes them."""
    async with AsyncExitStack() as stack:

        def make(memory: Any = None, base_url: str | None = None, **settings: Any) -> ChatAgent:
            settings = {
                "system_prompt": "You are helpful.",
                "context_token_budget": 4000,
                "summary_every_turns": 0,
                "idle_timeout": 5.0,
                "retry_within": 3.0,
                **settings,
            }
            model = choose_model(
                api_key=API_KEY,
                base_url=base_url or provider.base_url,
                model_name="test-model",
                others=settings.pop("models", ()),
                idle_timeout=settings["idle_timeout"],
            )
            agent = ChatAgent(memory or conversation, model, **settings)
            stack.push_async_callback(agent.close)
            return agent

        yield make


@pytest.fixture
def agent(make_agent: MakeAgent) -> ChatAgent:
    return make_agent()
