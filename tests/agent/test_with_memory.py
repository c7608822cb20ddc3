"""The agent on the real parts: memory in Redis, the embedded store, the provider over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.answering import AnswerRequest
from agent.chat import ChatAgent
from embedded.store import EmbeddedStore
from memory import RedisConversationMemory
from memory.records import Position, answer_of, question_of
from tests.agent.conftest import MakeAgent
from tests.agent.conversation import collect
from tests.stores.samples import (
    USER,
    a_conversation,
    a_turn,
    an_answer,
    closed,
    inserted,
)
from tests.support.provider import Provider
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "mnemosio.db")
    await store.connect()
    yield store
    await store.close()


@pytest.fixture(params=["with Redis", "without Redis"])
async def memory(
    request: pytest.FixtureRequest, redis_server: RedisServer, store: EmbeddedStore
) -> AsyncIterator[RedisConversationMemory]:
    url = redis_server.url if request.param == "with Redis" else "redis://127.0.0.1:1/0"
    memory = RedisConversationMemory(10, url, archive=store)
    yield memory
    await memory.close()


async def turn(
    agent: ChatAgent,
    store: EmbeddedStore,
    memory: RedisConversationMemory,
    conversation_id: str,
    n: int,
    text: str,
) -> str:
    """A whole turn: what the server does, in its order."""
    running = await inserted(store, a_turn(conversation_id, n, content=text, status="running"))
    await store.conversations.touch(running)
    position = Position(turn=n, answers=n - 1)
    await memory.remember(conversation_id, question_of(running), position)
    asked = AnswerRequest(
        conversation_id=conversation_id,
        user_id=USER,
        turn_id=running.id,
        question=question_of(running),
        position=position,
    )
    said = "".join(chunk.text for chunk in await collect(agent, asked))
    ended = await store.turns.finish(running, "completed", an_answer(running, said))
    assert ended is not None
    answered = answer_of(ended)
    assert answered is not None
    await memory.remember(conversation_id, answered, Position(turn=n, answers=ended.answers or 0))
    await closed(store, ended)
    agent.turn_ended(conversation_id, USER, running.id)
    return said


async def test_a_summary_reaches_store_and_memory_and_the_next_prompt(
    make_agent: MakeAgent,
    store: EmbeddedStore,
    memory: RedisConversationMemory,
    provider: Provider,
) -> None:
    agent = make_agent(memory, summary_every_turns=10)
    conversation_id = await a_conversation(store)
    for n in range(1, 21):
        assert await turn(agent, store, memory, conversation_id, n, f"number {n}")
        if n % 10 == 0:
            await wait_until(lambda n=n: len(provider.summaries) == n // 10, f"summary at {n}")
            version = n // 10

            async def kept(version: int = version) -> bool:
                found = (await store.load(conversation_id, 10)).summary
                return found is not None and found.version == version

            await wait_until(kept, f"version {version} is kept")

    loaded = (await store.load(conversation_id, 10)).summary
    assert loaded is not None
    assert (loaded.upto, loaded.turns) == (32, 20)
    assert (await memory.read(conversation_id)).summary == loaded

    # The window holds five exchanges; what it has lost is in the summary.
    await turn(agent, store, memory, conversation_id, 21, "and now")
    sent = provider.chats[-1]
    assert loaded.text in sent.texts[0]
    assert [m["content"] for m in sent.messages if m["role"] == "user"] == [
        *(f"number {n}" for n in range(17, 21)),
        "and now",
    ]


async def test_another_server_does_not_summarise_what_one_has_claimed(
    store: EmbeddedStore, redis_server: RedisServer
) -> None:
    conversation_id = await a_conversation(store)
    one = RedisConversationMemory(10, redis_server.url, archive=store)
    other = RedisConversationMemory(10, redis_server.url, archive=store)
    try:
        assert await one.claim_summary(conversation_id)
        assert not await other.claim_summary(conversation_id)
        assert not await one.claim_summary(conversation_id)
        await one.release_summary(conversation_id)
        assert await other.claim_summary(conversation_id)
    finally:
        await one.close()
        await other.close()
