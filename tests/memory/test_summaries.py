"""The rolling summary, from the model to the store and Redis: with Redis and without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent.chat import ChatAgent
from agent.models import choose_model
from agent.wording import fenced
from embedded.store import EmbeddedStore
from memory import RedisConversationMemory
from memory.errors import NotFound
from memory.records import Position, Summary
from tests.memory.conftest import Make
from tests.memory.troubles import client_of
from tests.stores.samples import USER, a_conversation, an_exchange, edited, exchanges
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

Summarise = Callable[[RedisConversationMemory], ChatAgent]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "mnemosio.db")
    await store.connect()
    yield store
    await store.close()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    await provider.start()
    yield provider
    await provider.stop()


@pytest.fixture
async def agent_of(provider: Provider) -> AsyncIterator[Summarise]:
    """An agent over a memory, as a server has one. Every five answers a summary is due."""
    async with AsyncExitStack() as stack:

        def make(memory: RedisConversationMemory) -> ChatAgent:
            model = choose_model(
                api_key="key", base_url=provider.base_url, model_name="m", idle_timeout=5
            )
            agent = ChatAgent(
                memory,
                model,
                system_prompt="",
                context_token_budget=4000,
                summary_every_turns=5,
                idle_timeout=5,
                retry_within=0.1,
            )
            stack.push_async_callback(agent.close)
            return agent

        yield make


def start(agent: ChatAgent, conversation_id: str, turns: int) -> None:
    agent._summariser.start(conversation_id, Position(turn=turns, answers=turns))


async def quiet(*agents: ChatAgent) -> None:
    await wait_until(
        lambda: all(agent._summariser.idle for agent in agents), "no summary is being made"
    )


def asked(provider: Provider, number: int) -> list[str]:
    """The messages that the model was given for its summary of that number."""
    last = provider.summaries[number].messages[-1]["content"]
    return [text for tag, text in fenced(last) if tag != "notes"]


def of_turns(first: int, last: int) -> list[str]:
    return [f"{kind} {n}" for n in range(first, last + 1) for kind in ("question", "answer")]


async def test_what_was_trimmed_before_it_was_summarised_comes_from_the_store(
    make: Make, url: str, store: EmbeddedStore, agent_of: Summarise, provider: Provider
) -> None:
    memory = make(4, url, archive=store)
    agent = agent_of(memory)
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 10)
    start(agent, conversation_id, 10)
    await quiet(agent)
    assert asked(provider, 0) == of_turns(1, 8)  # memory holds turns 9 and 10 only
    first = Summary(text="summary of 16 messages", upto=16, turns=10, version=1)
    assert (await memory.read(conversation_id)).summary == first
    for n in range(11, 16):
        await an_exchange(store, conversation_id, n)
    start(agent, conversation_id, 15)
    await quiet(agent)
    # Neither one twice nor one left out.
    assert asked(provider, 1) == of_turns(9, 13)
    second = Summary(text="summary of 10 messages", upto=26, turns=15, version=2)
    for kept in (await store.load(conversation_id, 4), await memory.read(conversation_id)):
        assert kept.summary == second


async def test_two_servers_that_find_one_due_ask_for_it_once(
    make: Make,
    server: RedisServer,
    store: EmbeddedStore,
    agent_of: Summarise,
    provider: Provider,
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["made ", "once"], gate=gate)
    agents = [agent_of(make(4, server.url, archive=store)) for _ in range(2)]
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 10)
    for agent in agents:
        start(agent, conversation_id, 10)
    await wait_until(lambda: provider.summaries, "it is asked for")
    await wait_until(
        lambda: sum(not agent._summariser.idle for agent in agents) == 1, "one has given way"
    )
    gate.set()
    await quiet(*agents)
    assert len(provider.summaries) == 1
    kept = (await store.load(conversation_id, 4)).summary
    assert kept is not None
    assert (kept.text, kept.version) == ("made once", 1)


async def test_of_two_servers_without_redis_one_keeps_its_summary_and_both_go_by_it(
    make: Make, nowhere: str, store: EmbeddedStore, agent_of: Summarise, provider: Provider
) -> None:
    """They can't hear of each other; the second one is refused, and must not try for ever."""
    gates = [asyncio.Event(), asyncio.Event()]
    provider.respond = lambda body: Script(
        ["made by ", str(len(provider.summaries))], gate=gates[len(provider.summaries) - 1]
    )
    memories = [make(4, nowhere, archive=store) for _ in range(2)]
    agents = [agent_of(memory) for memory in memories]
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 10)
    position = Position(turn=10, answers=10)
    for agent in agents:
        start(agent, conversation_id, 10)
    await wait_until(lambda: len(provider.summaries) == 2, "both ask")
    for gate in gates:
        gate.set()
    await quiet(*agents)
    kept = (await store.load(conversation_id, 4)).summary
    assert kept is not None
    assert kept.version == 1
    for memory in memories:
        assert (await memory.read(conversation_id, at_least=position)).summary == kept
    for agent in agents:
        start(agent, conversation_id, 10)
    await quiet(*agents)
    assert len(provider.summaries) == 2


async def test_a_summary_older_than_the_stores_is_noticed_and_not_made_again_and_again(
    make: Make,
    own_server: RedisServer,
    store: EmbeddedStore,
    agent_of: Summarise,
    provider: Provider,
) -> None:
    provider.respond = lambda body: Script([f"made as number {len(provider.summaries)}"])
    memory = make(4, own_server.url, archive=store)
    agent = agent_of(memory)
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 10)
    start(agent, conversation_id, 10)
    await quiet(agent)
    with client_of(own_server) as client:
        old = client.get(f"conversation:summary:{conversation_id}")
        for n in range(11, 16):
            await an_exchange(store, conversation_id, n)
        start(agent, conversation_id, 15)
        await quiet(agent)
        # As it is in a Redis restored from a snapshot that was made between the two.
        client.set(f"conversation:summary:{conversation_id}", old or b"", ex=1000)
    kept = (await store.load(conversation_id, 4)).summary
    assert kept is not None
    assert kept.version == 2
    for _ in range(3):
        start(agent, conversation_id, 15)
        await quiet(agent)
    assert len(provider.summaries) == 3  # one in vain
    assert (await memory.read(conversation_id)).summary == kept


@pytest.fixture(params=["refused", "cut"])
def failure(request: pytest.FixtureRequest) -> Script:
    return {"refused": Script(status=400), "cut": Script(["half", "of"], cut_after=1)}[
        request.param
    ]


async def test_a_failing_model_leaves_the_old_summary_everywhere(
    make: Make,
    url: str,
    store: EmbeddedStore,
    agent_of: Summarise,
    provider: Provider,
    failure: Script,
) -> None:
    memory = make(4, url, archive=store)
    agent = agent_of(memory)
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 10)
    start(agent, conversation_id, 10)
    await quiet(agent)
    old = (await memory.read(conversation_id)).summary
    for n in range(11, 16):
        await an_exchange(store, conversation_id, n)
    provider.respond = lambda body: failure
    start(agent, conversation_id, 15)
    await quiet(agent)
    for kept in (await store.load(conversation_id, 4), await memory.read(conversation_id)):
        assert kept.summary == old
    provider.respond = lambda body: Script(["better"])
    start(agent, conversation_id, 15)
    await quiet(agent)
    renewed = (await memory.read(conversation_id)).summary
    assert renewed == Summary(text="better", upto=26, turns=15, version=2)


@pytest.mark.parametrize(("place", "stays"), [(3, False), (8, False), (9, True)])
async def test_an_edit_takes_the_summary_away_exactly_where_it_covers_what_is_edited(
    make: Make,
    url: str,
    store: EmbeddedStore,
    agent_of: Summarise,
    place: int,
    stays: bool,
) -> None:
    memory = make(4, url, archive=store)
    agent = agent_of(memory)
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 10)
    start(agent, conversation_id, 10)
    await quiet(agent)
    summary = (await memory.read(conversation_id)).summary
    assert summary is not None
    assert summary.upto == 16
    await edited(store, conversation_id, place)
    edit = (await store.load(conversation_id, 4)).position
    transcript = await memory.read(conversation_id, at_least=edit)
    assert transcript.summary == (summary if stays else None)
    # Also where it comes late: of what was edited away nothing is noted any more.
    late = Summary(text="late", upto=18, turns=10, version=2)
    assert not await memory.save_summary(conversation_id, late, revision=0)
    assert (await memory.read(conversation_id, at_least=edit)).summary == transcript.summary


@pytest.mark.parametrize("event", ["edited", "deleted"])
async def test_a_summary_of_what_is_changed_while_it_is_made_is_kept_nowhere(
    make: Make,
    url: str,
    store: EmbeddedStore,
    agent_of: Summarise,
    provider: Provider,
    event: str,
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["of what ", "is gone"], gate=gate)
    memory = make(4, url, archive=store)
    agent = agent_of(memory)
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 10)
    start(agent, conversation_id, 10)
    await wait_until(lambda: provider.summaries, "it is asked for")
    if event == "edited":
        await edited(store, conversation_id, 3)
    else:
        await store.conversations.delete(conversation_id, USER)
    await memory.forget(conversation_id)
    gate.set()
    await quiet(agent)
    if event == "edited":
        assert (await store.load(conversation_id, 4)).summary is None
        assert (await memory.read(conversation_id)).summary is None
    else:
        with pytest.raises(NotFound):
            await memory.read(conversation_id)
