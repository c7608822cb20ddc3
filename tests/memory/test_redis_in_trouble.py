"""Whatever befalls Redis: conversations go on, little is waited for, and soon all is as it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis

from memory import RedisConversationMemory
from memory.entries import decode_messages, decode_summary
from memory.keys import conversation_keys
from memory.records import Summary
from tests.memory.conftest import Make
from tests.memory.steps import agrees, exchange, state
from tests.memory.troubles import LASTING, client_of
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

NAMES = ["c", "d", "e"]


@pytest.fixture
def lasting_server() -> Iterator[RedisServer]:
    """One of the test's own that keeps everything over a restart.

    What a killed process has written needs no syncing, and a slow disk would be a fault more.
    """
    with RedisServer("--appendfsync", "no", persistent=True) as server:
        yield server


@pytest.fixture
def told() -> list[str]:
    """What memory has told of its state."""
    return []


@pytest.fixture
async def memory(
    make: Make, lasting_server: RedisServer, archive: ArchiveInMemory, told: list[str]
) -> RedisConversationMemory:
    """With three warm conversations, each with a summary."""
    memory = make(redis_url=lasting_server.url, archive=archive, on_change=told.append)
    for name in NAMES:
        await exchange(memory, archive, name)
        await exchange(memory, archive, name)
        await memory.save_summary(
            name, Summary(text=f"of {name}", upto=2, turns=1, version=1), revision=0
        )
    return memory


async def is_whole_in(server: RedisServer, archive: ArchiveInMemory, name: str) -> bool:
    """Whether Redis itself holds just what the store does: messages, summary and count."""
    stored = await archive.load(name, 50)
    keys = conversation_keys(name)
    with client_of(server) as client:
        lives = {client.pexpiretime(key) for key in keys[:3]}
        entries = client.lrange(keys.messages, 0, -1)
        summary, turns = client.get(keys.summary), client.get(keys.turns)
    return (
        len(lives) == 1
        and summary is not None
        and decode_messages(entries) == stored.messages
        and decode_summary(summary) == (stored.summary, stored.position.revision)
        and turns == b"%d" % stored.position.answers
    )


@pytest.mark.parametrize("trouble", list(LASTING))
async def test_conversations_go_on_and_are_whole_again_within_three_seconds(
    memory: RedisConversationMemory,
    lasting_server: RedisServer,
    archive: ArchiveInMemory,
    told: list[str],
    trouble: str,
) -> None:
    with LASTING[trouble](lasting_server):
        for name in NAMES[:2]:
            await exchange(memory, archive, name)
            await agrees(memory, archive, name)
        await state(memory, "local")
        await exchange(memory, archive, "c")
        second = Summary(text="of more", upto=4, turns=2, version=2)
        # Of a summary no position tells: that it is missing in Redis must be known here.
        assert await memory.save_summary("e", second, revision=0)
        await asyncio.sleep(0.5)  # several probes, of which none may take Redis for well
        for name in NAMES:
            await agrees(memory, archive, name)
        assert (await memory.read("e")).summary == second
        assert told == ["local"]
    if trouble == "loading":
        await wait_until(lambda: has_loaded(lasting_server), "Redis has loaded its file")
    healed = time.monotonic()

    async def whole() -> bool:
        # A command from before the trouble may come late, and refuse the first load its place.
        for name in NAMES:
            await memory.read(name, at_least=archive.position(name))
        return all([await is_whole_in(lasting_server, archive, name) for name in NAMES])

    await state(memory, "redis")
    await wait_until(whole, "every conversation is whole in Redis", timeout=3)
    assert time.monotonic() - healed < 3
    for name in NAMES:
        await exchange(memory, archive, name)
        assert await is_whole_in(lasting_server, archive, name), (name, memory.counts)


def has_loaded(server: RedisServer) -> bool:
    with client_of(server) as client, suppress(redis.BusyLoadingError):
        client.get("x")
        return True
    return False


async def test_what_is_flushed_in_mid_turn_is_made_good(
    memory: RedisConversationMemory, lasting_server: RedisServer, archive: ArchiveInMemory
) -> None:
    def flush() -> None:
        with client_of(lasting_server) as client:
            client.flushall()

    flush()
    question, asked = archive.ask("c")
    await memory.remember("c", question, asked)
    flush()
    assert (await memory.read("c", at_least=asked)).messages == archive.messages("c")
    flush()
    await memory.remember("c", *archive.answer("c", asked.turn))
    await agrees(memory, archive)
    assert await is_whole_in(lasting_server, archive, "c")
    assert memory.counts["failed"] == 0


async def test_scripts_forgotten_in_mid_turn_are_sent_again(
    memory: RedisConversationMemory, lasting_server: RedisServer, archive: ArchiveInMemory
) -> None:
    with client_of(lasting_server) as client:
        for _ in range(3):
            question, asked = archive.ask("c")
            client.script_flush()
            await memory.remember("c", question, asked)
            client.script_flush()
            await asyncio.gather(*(memory.read(name) for name in NAMES))
            client.script_flush()
            await memory.remember("c", *archive.answer("c", asked.turn))
            assert await is_whole_in(lasting_server, archive, "c")
    assert memory.counts["failed"] == 0


async def test_a_redis_restored_from_a_snapshot_is_seen_through_though_no_command_has_failed(
    make: Make, own_server: RedisServer, archive: ArchiveInMemory
) -> None:
    """Its connections end while nobody asks anything, which is no outage to anybody."""
    names = ["asked", "answered", "edited", "as it was"]
    memory = make(redis_url=own_server.url, archive=archive)
    for name in names:
        await exchange(memory, archive, name)
        await exchange(memory, archive, name)
    with client_of(own_server) as client:
        client.save()
    asked, position = archive.ask("asked")
    await memory.remember("asked", asked, position)
    await exchange(memory, archive, "answered")
    await memory.read("edited", at_least=archive.rewrite("edited"))
    own_server.kill()
    own_server.start()
    await asyncio.sleep(0.05)  # the event loop was held up, and has not seen that they ended
    stale = memory.counts["stale"]
    for name in names:
        transcript = await memory.read(name, at_least=archive.position(name))
        assert transcript.messages == archive.messages(name)
        assert transcript.position == archive.position(name)
        assert await is_whole_in(own_server, archive, name), name
    assert (memory.counts["failed"], memory.state) == (0, "redis")
    assert memory.counts["stale"] == stale + 3


@pytest.mark.parametrize("way", ["question", "answer"])
async def test_a_message_for_a_restored_conversation_that_misses_one_drops_it(
    make: Make, own_server: RedisServer, archive: ArchiveInMemory, way: str
) -> None:
    memory = make(redis_url=own_server.url, archive=archive)
    await exchange(memory, archive)
    with client_of(own_server) as client:
        client.save()
    await exchange(memory, archive)
    question, asked = archive.ask("c")
    if way == "answer":
        await memory.remember("c", question, asked)
    own_server.kill()
    own_server.start()
    if way == "question":
        await memory.remember("c", question, asked)
    else:
        await memory.remember("c", *archive.answer("c", asked.turn))
    await agrees(memory, archive)
    assert await is_whole_in(own_server, archive, "c")
    assert memory.counts["failed"] == 0
