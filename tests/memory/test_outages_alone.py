"""Redis in trouble where it is the only copy: the window serves, and Redis gets it afterwards."""

from __future__ import annotations

import asyncio

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage

from memory import RedisConversationMemory
from memory.scripts import CHANGE_ALONE, READ_ALONE
from tests.memory.conftest import Make
from tests.memory.steps import state
from tests.support.redis_server import RedisServer, Relay
from tests.support.wait import wait_until


async def say(memory: RedisConversationMemory, *words: str) -> None:
    for word in words:
        await memory.add_message("c", HumanMessage(word, id=word))


async def said(memory: RedisConversationMemory) -> list[object]:
    return [message.content for message in await memory.get_conversation_history("c")]


async def replayed(memory: RedisConversationMemory, reader: RedisConversationMemory) -> None:
    """Wait until ``memory`` has Redis again; ``reader`` never had another."""
    await state(memory, "redis")
    assert await said(memory) == await said(reader)
    assert await memory.get_summary("c") == await reader.get_summary("c")


async def test_what_was_written_in_an_outage_is_in_redis_afterwards(
    make: Make, server: RedisServer, relay: Relay
) -> None:
    memory, other = make(redis_url=relay.url), make(redis_url=server.url)
    await say(memory, "before")
    await memory.register_turn("c")
    relay.cut()
    await say(memory, "during", "the", "outage", "during")
    assert await memory.register_turn("c") == 2
    assert await memory.register_turn("c") == 3
    await memory.set_summary("c", "first")
    await memory.set_summary("c", "second")
    assert memory.state == "local"
    assert await said(memory) == ["before", "during", "the", "outage"]
    assert await memory.get_summary("c") == "second"
    assert await said(other) == ["before"]
    relay.mend()
    await replayed(memory, other)
    assert await said(other) == ["before", "during", "the", "outage"]
    assert await other.get_summary("c") == "second"
    assert await other.register_turn("c") == 4


async def test_what_another_wrote_meanwhile_stays(
    make: Make, server: RedisServer, relay: Relay
) -> None:
    memory, other = make(redis_url=relay.url), make(redis_url=server.url)
    await say(memory, "one")
    relay.cut()
    await say(memory, "two", "shared")
    await memory.register_turn("c")
    await say(other, "three", "shared")
    await other.register_turn("c")
    relay.mend()
    await replayed(memory, other)
    assert await said(other) == ["one", "three", "shared", "two"]
    assert await other.register_turn("c") == 3


async def test_a_clear_in_an_outage_comes_in_its_place(
    make: Make, server: RedisServer, relay: Relay
) -> None:
    memory, other = make(redis_url=relay.url), make(redis_url=server.url)
    await say(memory, "old")
    await memory.register_turn("c")
    await memory.set_summary("c", "old")
    relay.cut()
    await say(memory, "forgotten")
    await memory.register_turn("c")
    await memory.clear_conversation("c")
    assert await said(memory) == []
    await say(memory, "new")
    assert await memory.register_turn("c") == 1
    relay.mend()
    await replayed(memory, other)
    assert await said(other) == ["new"]
    assert await other.get_summary("c") == ""
    assert await other.register_turn("c") == 2


async def test_a_clear_alone_in_an_outage_leaves_no_key(
    make: Make, relay: Relay, keys: redis.Redis
) -> None:
    memory = make(redis_url=relay.url)
    await say(memory, "old")
    relay.cut()
    await say(memory, "forgotten")
    await memory.clear_conversation("c")
    relay.mend()
    await state(memory, "redis")
    assert keys.keys("conversation:*") == []
    assert await said(memory) == []


@pytest.mark.parametrize("operation", ["add", "turn", "summary", "clear", "read"])
async def test_a_lost_reply_does_it_once(
    make: Make, server: RedisServer, relay: Relay, operation: str
) -> None:
    memory, other = make(redis_url=relay.url), make(redis_url=server.url)
    await say(memory, "one")
    await memory.register_turn("c")
    await memory.set_summary("c", "first")
    await memory.read("c")
    script = {"read": READ_ALONE.digest, "clear": "DEL"}.get(operation, CHANGE_ALONE.digest)
    relay.lose_the_reply_to(script.encode())
    if operation == "add":
        await say(memory, "two")
    elif operation == "turn":
        assert await memory.register_turn("c") == 2
    elif operation == "summary":
        await memory.set_summary("c", "second")
    elif operation == "clear":
        await memory.clear_conversation("c")
    else:
        assert await said(memory) == ["one"]
    assert relay.lost == 1
    assert await said(memory) == {"add": ["one", "two"], "clear": []}.get(operation, ["one"])
    await replayed(memory, other)
    turns = {"turn": 2, "clear": 0}.get(operation, 1)
    assert (await other.read("c")).position.answers == turns
    summaries = {"summary": "second", "clear": ""}
    assert await other.get_summary("c") == summaries.get(operation, "first")
    assert await said(other) == {"add": ["one", "two"], "clear": []}.get(operation, ["one"])


async def test_a_replay_whose_reply_is_lost_counts_once(
    make: Make, server: RedisServer, relay: Relay
) -> None:
    memory, other = make(redis_url=relay.url), make(redis_url=server.url)
    await say(memory, "one")
    relay.cut()
    assert await said(memory) == ["one"]
    assert memory.state == "local"
    await say(memory, "two")
    for _ in range(5):
        await memory.register_turn("c")
    relay.lose_the_reply_to(CHANGE_ALONE.digest.encode())
    relay.mend()
    await wait_until(lambda: relay.lost == 1, "the replay's reply was lost")
    await say(memory, "three")
    await memory.register_turn("c")
    await replayed(memory, other)
    assert await said(other) == ["one", "two", "three"]
    assert (await other.read("c")).position.answers == 6


async def test_a_script_that_starts_without_redis_gets_it_later(make: Make) -> None:
    server = RedisServer()
    memory = make(redis_url=server.url)
    await say(memory, "early")
    assert memory.state == "local"
    try:
        server.start()
        await state(memory, "redis")
        with redis.Redis(port=server.port) as client:
            assert client.llen("conversation:messages:c") == 1
        assert await said(memory) == ["early"]
    finally:
        server.close()


async def test_a_cancelled_addition_completes(make: Make, own_server: RedisServer) -> None:
    memory = make(redis_url=own_server.url)
    await say(memory, "one")
    own_server.freeze()
    write = asyncio.create_task(say(memory, "two"))
    await asyncio.sleep(0.02)  # it is on its way; the frozen Redis can't tell
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    own_server.thaw()

    async def both() -> bool:
        return await said(memory) == ["one", "two"]

    await wait_until(both, "the cancelled addition is there")


async def test_what_waits_for_redis_is_read_before_it_is_replayed(make: Make, relay: Relay) -> None:
    memory = make(redis_url=relay.url)
    await say(memory, "one")
    relay.swallow(CHANGE_ALONE.digest.encode())
    await say(memory, "two")  # times out without having arrived: one slow moment is no outage
    assert memory.state == "redis"
    assert await said(memory) == ["one", "two"]
    await say(memory, "three")
    assert await said(memory) == ["one", "two", "three"]
    await wait_until(lambda: memory.counts["replayed"], "what waited is in Redis")
    assert await said(memory) == ["one", "two", "three"]


async def test_only_the_latest_messages_of_an_outage_are_replayed(
    make: Make, server: RedisServer, relay: Relay, keys: redis.Redis
) -> None:
    memory = make(3, relay.url)
    await say(memory, "before")
    relay.cut()
    await say(memory, *(str(n) for n in range(10)))
    relay.mend()
    await state(memory, "redis")
    assert await said(memory) == ["7", "8", "9"]
    assert keys.llen("conversation:messages:c") == 3


async def test_many_conversations_are_replayed(make: Make, relay: Relay, keys: redis.Redis) -> None:
    memory = make(redis_url=relay.url)
    await memory.connect()
    relay.cut()
    names = [f"c{n}" for n in range(500)]
    for name in names:
        await memory.add_message(name, AIMessage(f"hello {name}"))
        await memory.register_turn(name)
    relay.mend()
    await state(memory, "redis")
    assert len(keys.keys("conversation:*")) == 1500
    for name in names[::50]:
        [message] = await memory.get_conversation_history(name)
        assert message.content == f"hello {name}"
