"""Which model is chosen, and what is told of it."""

from __future__ import annotations

import pytest
from langchain_openai import ChatOpenAI

from agent.chat import ChatAgent
from agent.demo import DemoChatModel
from agent.models import choose_model
from tests.agent.conversation import Conversation, collect
from tests.support.provider import Provider


@pytest.mark.parametrize(
    ("api_key", "base_url", "description"),
    [
        (None, None, "offline demo model (set OPENAI_API_KEY for a real one)"),
        ("", "", "offline demo model (set OPENAI_API_KEY for a real one)"),
        ("sk-1", None, "gpt at https://api.openai.com/v1"),
        ("sk-1", "http://localhost:11434/v1/", "gpt at http://localhost:11434/v1"),
        (None, "http://me:pass@[::1]:80/v1?key=k#f", "gpt at http://[::1]:80/v1"),
    ],
)
async def test_the_description_says_which_model_and_where(
    api_key: str | None, base_url: str | None, description: str
) -> None:
    model = choose_model(api_key=api_key, base_url=base_url, model_name="gpt", idle_timeout=5)
    assert model.description == description
    assert isinstance(model.chat, DemoChatModel if description.startswith("off") else ChatOpenAI)
    await model.close()


async def test_the_environment_does_not_divert_it(
    provider: Provider, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    # A name that would otherwise be sent to the Responses API.
    model = choose_model(
        api_key=None, base_url=provider.base_url, model_name="gpt-5-pro", idle_timeout=5
    )
    agent = ChatAgent(
        conversation,
        model,
        system_prompt="",
        context_token_budget=1000,
        summary_every_turns=0,
        idle_timeout=5,
    )
    chunks = await collect(agent, conversation.ask("hello"))
    await agent.close()
    assert "".join(chunk.text for chunk in chunks) == "echo: hello"
    assert provider.requests[0].headers["Authorization"] == "Bearer none"
