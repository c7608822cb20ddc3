"""Conversations that are answered by another model, or told something else first."""

from __future__ import annotations

import logging

import msgspec
import pytest

from agent.chat import ChatAgent
from agent.models import choose_model
from memory.records import NO_CHOICE, Choice
from tests.agent.conftest import MakeAgent
from tests.agent.conversation import Conversation, collect
from tests.support.provider import Provider, Script

PROMPTS = {"pirate": "Talk like a pirate.", "empty": "x"}


@pytest.fixture
def agent(make_agent: MakeAgent) -> ChatAgent:
    return make_agent(models=("larger", "test-model"), system_prompts=PROMPTS)


async def asked(
    agent: ChatAgent, conversation: Conversation, provider: Provider, choice: Choice
) -> tuple[str, str]:
    """The model that was asked, and what it was told first."""
    request = msgspec.structs.replace(conversation.ask("hi"), choice=choice)
    chunks = await collect(agent, request)
    [context] = [chunk.context for chunk in chunks if chunk.context]
    sent = provider.requests[-1]
    assert (context["model"], context["system_prompt"]) == (sent.body["model"], sent.texts[0])
    return sent.body["model"], sent.texts[0]


async def test_a_turn_is_answered_by_its_choice(
    agent: ChatAgent, conversation: Conversation, provider: Provider
) -> None:
    default = ("test-model", "You are helpful.")
    assert await asked(agent, conversation, provider, NO_CHOICE) == default
    chosen = Choice(model="larger", system_prompt="pirate")
    assert await asked(agent, conversation, provider, chosen) == ("larger", "Talk like a pirate.")
    chosen = Choice(model="test-model")
    assert await asked(agent, conversation, provider, chosen) == default


async def test_what_is_not_offered_any_more_is_the_default_and_a_line_of_the_log(
    agent: ChatAgent,
    conversation: Conversation,
    provider: Provider,
    caplog: pytest.LogCaptureFixture,
) -> None:
    chosen = Choice(model="retired", system_prompt="pirate")
    with caplog.at_level(logging.WARNING):
        found = await asked(agent, conversation, provider, chosen)
    assert found == ("test-model", "Talk like a pirate.")
    [line] = caplog.records
    assert line.getMessage().startswith("The model that was chosen is not offered any more")
    with caplog.at_level(logging.WARNING):
        found = await asked(agent, conversation, provider, Choice(system_prompt="retired"))
    assert found == ("test-model", "You are helpful.")
    assert len(caplog.records) == 2


async def test_models_share_the_connections(
    agent: ChatAgent, conversation: Conversation, provider: Provider
) -> None:
    for model in ("larger", "test-model", "larger"):
        await asked(agent, conversation, provider, Choice(model=model))
    assert len({request.peer for request in provider.requests}) == 1


async def test_each_model_counts_tokens_by_what_it_was_told_itself(
    agent: ChatAgent, conversation: Conversation, provider: Provider
) -> None:
    """One that counts three times as much must not make the other's prompts shorter."""
    long = "word " * 300
    provider.respond = lambda body: Script(["so"], prompt_tokens=4000)
    conversation.exchange(long, "so")
    for _ in range(10):
        await asked(agent, conversation, provider, Choice(model="larger"))
    request = conversation.ask("hi")
    [context] = [chunk.context for chunk in await collect(agent, request) if chunk.context]
    larger = msgspec.structs.replace(conversation.ask("hi"), choice=Choice(model="larger"))
    [grown] = [chunk.context for chunk in await collect(agent, larger) if chunk.context]
    assert grown["tokens"]["question"] > 1.5 * context["tokens"]["question"]


async def test_the_demo_model_answers_to_every_name() -> None:
    model = choose_model(
        api_key=None, base_url=None, model_name="gpt", idle_timeout=5, others=["larger"]
    )
    assert {name: chat is model.chat for name, chat in model.others.items()} == {
        "gpt": True,
        "larger": True,
    }


async def test_the_description_names_what_may_be_chosen() -> None:
    model = choose_model(
        api_key="sk", base_url=None, model_name="gpt", idle_timeout=5, others=["larger", "gpt"]
    )
    assert model.description == (
        "gpt at https://api.openai.com/v1 (or larger, as a conversation chooses)"
    )
    await model.close()
