"""A reply is lost, of any command there is: it has run, and nobody knows."""

from __future__ import annotations

import asyncio

import pytest
import redis

from memory.scripts import ADD, GET, INSTALL, RELEASE
from tests.memory.conftest import Make
from tests.memory.steps import agrees, exchange, state
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer, Relay
from tests.support.wait import wait_until


@pytest.mark.parametrize("lost", ["memory:probe", "the repair's DEL"])
async def test_a_recovery_whose_reply_is_lost_is_begun_again(
    make: Make, server: RedisServer, relay: Relay, archive: ArchiveInMemory, lost: str
) -> None:
    memory = make(redis_url=relay.url, archive=archive)
    healthy = make(redis_url=server.url, archive=archive)
    await exchange(memory, archive)
    relay.cut()
    await exchange(memory, archive)
    assert memory.state == "local"
    relay.lose_the_reply_to(
        b"memory:probe" if lost == "memory:probe" else b"conversation:messages:c"
    )
    relay.mend()
    await wait_until(lambda: relay.lost == 1, "the reply was lost")
    await state(memory, "redis")
    for each in (memory, healthy):
        await agrees(each, archive)
        await exchange(each, archive)
        await agrees(each, archive)


async def test_a_claim_whose_reply_is_lost_is_held_by_nobody_else(
    make: Make, server: RedisServer, relay: Relay, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    memory = make(redis_url=relay.url, archive=archive)
    other = make(redis_url=server.url, archive=archive)
    await memory.connect()
    relay.lose_the_reply_to(b"conversation:summarising:c")
    assert await memory.claim_summary("c")
    assert relay.lost == 1
    assert not await other.claim_summary("c")
    assert not await memory.claim_summary("c")
    await state(memory, "redis")
    await memory.release_summary("c")
    assert not keys.exists("conversation:summarising:c")
    assert await other.claim_summary("c")


@pytest.mark.parametrize("lease", ["loading", "summarising"])
async def test_a_lease_given_back_unheard_is_given_back(
    make: Make,
    server: RedisServer,
    relay: Relay,
    archive: ArchiveInMemory,
    keys: redis.Redis,
    lease: str,
) -> None:
    memory = make(redis_url=relay.url, archive=archive)
    archive.fill("c", 0)
    await memory.read("c")  # an empty conversation is not kept; so Redis knows the script
    if lease == "summarising":
        await memory.claim_summary("c")
    relay.lose_the_reply_to(RELEASE.digest.encode())
    if lease == "summarising":
        await memory.release_summary("c")
    else:
        await memory.read("c")
    await wait_until(lambda: relay.lost == 1, "the reply was lost")
    assert keys.keys("conversation:*") == []
    await state(memory, "redis")
    archive.fill("c", 2)
    await agrees(memory, archive)


async def test_of_the_replies_of_twenty_turns_at_once_any_may_be_lost(
    make: Make, server: RedisServer, relay: Relay, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    memory = make(redis_url=relay.url, archive=archive)
    names = [f"c{n}" for n in range(20)]
    for lost, script in enumerate((ADD, GET, INSTALL) * 2, start=1):
        await asyncio.gather(*(exchange(memory, archive, name) for name in names))
        if script is INSTALL:
            keys.flushall()
        relay.lose_the_reply_to(script.digest.encode())
        await asyncio.gather(*(exchange(memory, archive, name) for name in names))
        assert relay.lost == lost
        await state(memory, "redis")
        for name in names:
            await agrees(memory, archive, name)
            turns = int(keys.get(f"conversation:turns:{name}") or 0)
            assert turns == archive.position(name).answers
