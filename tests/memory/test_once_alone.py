"""Where Redis is the only copy: every change is made once, and in its order, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage

from memory import RedisConversationMemory
from memory.scripts import CHANGE_ALONE
from tests.memory.conftest import Make
from tests.memory.steps import state
from tests.memory.troubles import LASTING, client_of
from tests.support.redis_server import RedisServer, Relay
from tests.support.wait import wait_until


async def say(memory: RedisConversationMemory, *words: str, name: str = "c") -> None:
    for word in words:
        await memory.add_message(name, HumanMessage(word, id=word))


async def said(memory: RedisConversationMemory, name: str = "c") -> list[object]:
    return [message.content for message in await memory.get_conversation_history(name)]


async def counted(memory: RedisConversationMemory, name: str = "c") -> int:
    return (await memory.read(name)).position.answers


@pytest.fixture
def lasting_server() -> Iterator[RedisServer]:
    with RedisServer("--appendfsync", "no", persistent=True) as server:
        yield server


@pytest.mark.parametrize("trouble", list(LASTING))
async def test_what_is_written_while_redis_is_in_trouble_is_there_afterwards_once_and_in_order(
    make: Make, lasting_server: RedisServer, trouble: str
) -> None:
    memory = make(redis_url=lasting_server.url)
    for name in ("c", "d"):
        await say(memory, "before", name=name)
        await memory.register_turn(name)
    with LASTING[trouble](lasting_server):
        for n in range(2, 6):
            await say(memory, f"question {n}", f"answer {n}")
            assert await memory.register_turn("c") == n
        await memory.set_summary("c", "made meanwhile")
        await memory.clear_conversation("d")
        await say(memory, "anew", name="d")
        await state(memory, "local")
        await say(memory, "the last one")
        everything = await said(memory)
        assert await said(memory, "d") == ["anew"]
    await state(memory, "redis")
    reader = make(redis_url=lasting_server.url)
    for each in (memory, reader):
        assert await said(each) == everything
        assert await counted(each) == 5
        assert await each.get_summary("c") == "made meanwhile"
        assert await said(each, "d") == ["anew"]
        assert await counted(each, "d") == 0
    assert everything == [
        "before",
        *(f"{kind} {n}" for n in range(2, 6) for kind in ("question", "answer")),
        "the last one",
    ]


async def test_a_hundred_turns_at_once_that_redis_counts_unheard_are_counted_once(
    make: Make, own_server: RedisServer
) -> None:
    memory = make(redis_url=own_server.url)
    await asyncio.gather(*(memory.register_turn(f"another {n}") for n in range(100)))
    own_server.freeze()  # what is sent, on several connections, is read and done when it thaws
    counts = await asyncio.gather(*(memory.register_turn("c") for _ in range(100)))
    assert sorted(counts) == list(range(1, 101))
    own_server.thaw()
    with client_of(own_server) as client:
        await wait_until(lambda: client.get("conversation:turns:c") == b"100", "all are counted")
    await wait_until(lambda: not memory._mode.wanting, "all have been replayed")
    assert await memory.register_turn("c") == 101


async def test_concurrent_messages_are_kept_in_the_order_in_which_they_were_added(
    make: Make, server: RedisServer
) -> None:
    memory = make(redis_url=server.url)
    words = [f"word {n}" for n in range(50)]
    await asyncio.gather(*(say(memory, word) for word in words))
    assert await said(memory) == words


@pytest.fixture
async def doubtful(make: Make, relay: Relay) -> RedisConversationMemory:
    """Cut off in the moment in which a change of it was made, but not answered for."""
    memory = make(redis_url=relay.url)
    await say(memory, "one")
    relay.lose_the_reply_to(CHANGE_ALONE.digest.encode())
    return memory


async def cut_off(memory: RedisConversationMemory, relay: Relay) -> None:
    relay.cut()
    assert relay.lost == 1
    assert memory.state == "local"


async def test_a_turn_counted_unheard_is_not_counted_again_however_many_others_count_meanwhile(
    make: Make, server: RedisServer, relay: Relay, doubtful: RedisConversationMemory
) -> None:
    other = make(redis_url=server.url)
    assert await doubtful.register_turn("c") == 1
    await cut_off(doubtful, relay)
    for n in range(2, 42):
        assert await other.register_turn("c") == n
    relay.mend()
    await state(doubtful, "redis")
    assert await counted(doubtful) == 41


async def test_a_summary_set_unheard_does_not_replace_a_later_one(
    make: Make, server: RedisServer, relay: Relay, doubtful: RedisConversationMemory
) -> None:
    other = make(redis_url=server.url)
    await doubtful.set_summary("c", "an early one")
    await cut_off(doubtful, relay)
    assert await other.get_summary("c") == "an early one"
    await other.set_summary("c", "a later one")
    relay.mend()
    await state(doubtful, "redis")
    assert await doubtful.get_summary("c") == "a later one"


async def test_a_message_added_unheard_does_not_come_again_when_it_has_been_trimmed(
    make: Make, server: RedisServer, relay: Relay, doubtful: RedisConversationMemory
) -> None:
    other = make(redis_url=server.url)
    await say(doubtful, "two")
    await cut_off(doubtful, relay)
    later = [f"later {n}" for n in range(50)]
    await say(other, *later)
    relay.mend()
    await state(doubtful, "redis")
    assert await said(doubtful) == later


@pytest.mark.parametrize("operation", ["turn", "summary", "clear"])
async def test_a_cancelled_change_is_made(
    make: Make, own_server: RedisServer, operation: str
) -> None:
    memory = make(redis_url=own_server.url)
    await say(memory, "one")
    change: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "turn": lambda: memory.register_turn("c"),
        "summary": lambda: memory.set_summary("c", "made"),
        "clear": lambda: memory.clear_conversation("c"),
    }
    own_server.freeze()
    task = asyncio.create_task(change[operation]())
    await asyncio.sleep(0.02)  # it is on its way; the frozen Redis can't tell
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    own_server.thaw()

    async def is_made() -> bool:
        transcript = await memory.read("c")
        return {
            "turn": transcript.position.answers == 1,
            "summary": transcript.summary is not None,
            "clear": transcript.messages == [],
        }[operation]

    await wait_until(is_made, "the change is made")


async def test_an_expiry_in_mid_turn_is_a_new_beginning_whose_keys_live_equally_long(
    make: Make, server: RedisServer, keys: redis.Redis
) -> None:
    memory = make(redis_url=server.url)
    await say(memory, "one", "two")
    await memory.register_turn("c")
    for name in ("messages", "summary", "turns"):
        keys.pexpire(f"conversation:{name}:c", 1)
    await wait_until(lambda: not keys.keys("conversation:*"), "the conversation has expired")
    await memory.add_message("c", AIMessage("late"))
    assert await said(memory) == ["late"]
    assert await memory.register_turn("c") == 1
    assert len({keys.pexpiretime(key) for key in keys.keys("conversation:*")}) == 1
