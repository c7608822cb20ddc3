"""Many faults at once, our own pauses, and conversations as long as they get."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import pytest
import redis

from memory import RedisConversationMemory
from memory.cached import ADD
from memory.loader import GET, INSTALL
from tests.memory.conftest import Make
from tests.memory.steps import exchange, state
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer, Relay
from tests.support.wait import wait_until


@pytest.fixture
def memory(make: Make, server: RedisServer, archive: ArchiveInMemory) -> RedisConversationMemory:
    return make(redis_url=server.url, archive=archive)


async def test_random_faults_leave_nothing_lost_doubled_or_stale(make: Make) -> None:
    dice = random.Random(20)
    with RedisServer(persistent=True) as server:
        async with Relay(server.port) as relay:
            archive = ArchiveInMemory()
            urls = (server.url, relay.url)
            servers = [make(redis_url=url, archive=archive) for url in urls]
            names = [f"c{n}" for n in range(6)]
            exchanges = 0
            done = asyncio.Event()

            async def converse(name: str) -> None:
                nonlocal exchanges
                while not done.is_set():
                    await exchange(dice.choice(servers), archive, name)
                    exchanges += 1
                    await asyncio.sleep(0.002)

            def cut() -> None:
                relay.cut()
                asyncio.get_running_loop().call_later(0.2, relay.mend)

            def restart() -> None:
                server.kill()
                server.start()

            def delete_a_key() -> None:
                with redis.Redis(port=server.port) as client:
                    kind = dice.choice(["messages", "summary", "turns"])
                    client.delete(f"conversation:{kind}:{dice.choice(names)}")

            def flush() -> None:
                with redis.Redis(port=server.port) as client:
                    client.flushall()

            def lose_a_reply() -> None:
                relay.lose_the_reply_to(dice.choice([ADD, GET, INSTALL]).digest.encode())

            faults: list[Callable[[], None]] = [cut, restart, delete_a_key, flush, lose_a_reply]
            work = [asyncio.create_task(converse(name)) for name in names]
            for _ in range(25):
                dice.choice(faults)()
                await asyncio.sleep(dice.uniform(0.05, 0.25))
            done.set()
            await asyncio.gather(*work)
            relay.mend()
            for memory in servers:
                await state(memory, "redis")
                for name in names:
                    transcript = await memory.read(name, at_least=archive.position(name))
                    assert transcript.messages == archive.messages(name)[-50:]
                    assert transcript.position == archive.position(name)
            assert exchanges > 100


async def fill_with_long_messages(
    memory: RedisConversationMemory, archive: ArchiveInMemory, *, chars: int = 100_000
) -> list[str]:
    names = [f"long{n}" for n in range(10)]
    for name in names:
        for _ in range(25):
            archive.answer(name, archive.ask(name, "x" * chars)[1].turn, "y" * chars)
        await memory.read(name)
    return names


async def test_a_pause_of_our_own_process_is_no_outage(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    # Enough that the pause falls between replies, and little enough for a slow machine.
    names = await fill_with_long_messages(memory, archive, chars=40_000)
    reads = [asyncio.create_task(memory.read(name)) for name in names]
    hot = memory.counts["hot"]
    await wait_until(lambda: memory.counts["hot"] > hot, "replies are coming in", interval=0)
    time.sleep(0.7)
    transcripts = await asyncio.gather(*reads)
    assert [t.messages for t in transcripts] == [archive.messages(name) for name in names]
    assert memory.counts["failed"] == 0


async def test_long_conversations_are_no_outage(
    make: Make, server: RedisServer, archive: ArchiveInMemory
) -> None:
    memory = make(redis_url=server.url, archive=archive)
    names = await fill_with_long_messages(memory, archive)
    transcripts = await asyncio.gather(*(memory.read(name) for name in names))
    assert [t.messages for t in transcripts] == [archive.messages(name) for name in names]
    assert memory.state == "redis"
    assert memory.counts["failed"] == 0
