"""Redis in trouble, in front of a permanent store: nothing is lost, doubled or stale."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from memory import RedisConversationMemory
from memory.errors import NotFound, Unavailable
from memory.records import Summary
from memory.scripts import ADD, GET, INSTALL, SUMMARY
from redislink.link import Script
from tests.memory.conftest import Make
from tests.memory.steps import agrees, exchange, state
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer, Relay
from tests.support.wait import wait_until


@pytest.fixture
def memory(
    make: Make, own_server: RedisServer, archive: ArchiveInMemory
) -> RedisConversationMemory:
    return make(redis_url=own_server.url, archive=archive)


# A lost reply: the command has run, and nobody knows


@pytest.mark.parametrize("script", [ADD, GET, INSTALL, SUMMARY], ids=["add", "get", "install", "s"])
async def test_a_lost_reply_leaves_everything_once(
    make: Make, relay: Relay, archive: ArchiveInMemory, script: Script
) -> None:
    memory = make(redis_url=relay.url, archive=archive)
    for name in ("another", "c"):  # so that Redis knows every script
        archive.fill(name, 2)
        await memory.read(name)
        await exchange(memory, archive, name)
        summary = Summary(text="first", upto=2, turns=3, version=1)
        await memory.save_summary(name, summary, revision=0)
    if script is INSTALL:
        await memory.forget("c")
    relay.lose_the_reply_to(script.digest.encode())
    await exchange(memory, archive)
    await memory.save_summary("c", Summary(text="second", upto=4, turns=4, version=2), revision=0)
    await wait_until(lambda: relay.lost == 1, "a reply was lost")
    await state(memory, "redis")
    await exchange(memory, archive)
    await agrees(memory, archive)
    assert await memory.get_summary("c") == "second"


async def test_a_forgotten_conversation_stays_so_when_the_reply_is_lost(
    make: Make, relay: Relay, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    memory = make(redis_url=relay.url, archive=archive)
    await exchange(memory, archive)
    archive.delete("c")
    relay.lose_the_reply_to(b"DEL")
    await memory.forget("c")
    with pytest.raises(NotFound):
        await memory.read("c")
    await state(memory, "redis")
    assert not list(keys.scan_iter("conversation:*"))


# Redis gone and back


async def test_redis_killed_and_back_empty(
    memory: RedisConversationMemory, archive: ArchiveInMemory, own_server: RedisServer
) -> None:
    await exchange(memory, archive)
    own_server.kill()
    for _ in range(3):
        await exchange(memory, archive)
    assert memory.state == "local"
    await agrees(memory, archive)
    own_server.start()
    await state(memory, "redis")
    await exchange(memory, archive)
    await agrees(memory, archive)


async def test_redis_back_with_old_data_is_not_believed(
    make: Make, archive: ArchiveInMemory
) -> None:
    with RedisServer(persistent=True) as server:
        memory, bystander = (make(redis_url=server.url, archive=archive) for _ in range(2))
        for name in ("written", "asked", "answered"):
            archive.fill(name, 2)
            await bystander.read(name)
        await memory.read("written")
        server.kill()
        await exchange(memory, archive, "written")
        # Of these only the store knows; who wrote them has died.
        question, asked = archive.ask("asked")
        archive.ask("answered")
        archive.answer("answered", 3)
        server.start()
        await state(memory, "redis")
        await agrees(memory, archive, "written")
        await state(bystander, "redis")
        assert bystander.counts["loaded"] == 3
        assert (await bystander.read("asked", at_least=asked)).messages[-1] == question
        await bystander.remember("answered", *archive.ask("answered"))
        await agrees(bystander, archive, "answered")


async def test_a_forgotten_conversation_does_not_come_back_with_redis(
    make: Make, archive: ArchiveInMemory
) -> None:
    with RedisServer(persistent=True) as server:
        memory = make(redis_url=server.url, archive=archive)
        await exchange(memory, archive)
        server.kill()
        archive.delete("c")
        await memory.forget("c")
        server.start()
        await state(memory, "redis")
        with redis.Redis(port=server.port) as client:
            assert not list(client.scan_iter("conversation:*"))
        with pytest.raises(NotFound):
            await memory.read("c")


async def test_redis_frozen_costs_little_and_loses_nothing(
    memory: RedisConversationMemory, archive: ArchiveInMemory, own_server: RedisServer
) -> None:
    await exchange(memory, archive)
    own_server.freeze()
    begun = time.monotonic()
    for _ in range(5):
        await exchange(memory, archive)
    frozen = time.monotonic() - begun
    begun = time.monotonic()
    for _ in range(5):
        await exchange(memory, archive)
    assert time.monotonic() - begun < 0.25, "an open breaker costs nothing"
    assert frozen < 3
    await agrees(memory, archive)
    own_server.thaw()
    await state(memory, "redis")
    await agrees(memory, archive)
    await exchange(memory, archive)
    await agrees(memory, archive)


async def test_one_timeout_is_no_outage(
    memory: RedisConversationMemory, archive: ArchiveInMemory, own_server: RedisServer
) -> None:
    await exchange(memory, archive)
    own_server.freeze()
    await memory.remember("c", *archive.ask("c"))  # times out
    own_server.thaw()
    assert memory.state == "redis"
    await agrees(memory, archive)
    await wait_until(
        lambda: memory.counts["loaded"] == 2 and memory.counts["failed"] == 1,
        "the conversation that missed a message was loaded anew",
    )


REFUSALS = {
    "read-only": ("replicaof 127.0.0.1 1", "replicaof no one"),
    "out of memory": ("config set maxmemory 1", "config set maxmemory 0"),
    "too few replicas": (
        "config set min-replicas-to-write 1",
        "config set min-replicas-to-write 0",
    ),
}


@pytest.mark.parametrize("trouble", list(REFUSALS))
async def test_a_redis_that_refuses_writes_is_away(
    memory: RedisConversationMemory,
    archive: ArchiveInMemory,
    own_server: RedisServer,
    trouble: str,
) -> None:
    await exchange(memory, archive)
    begin, end = REFUSALS[trouble]
    with redis.Redis(port=own_server.port) as client:
        client.execute_command(*begin.split())
        for _ in range(3):
            await exchange(memory, archive)
        assert memory.state == "local"
        assert client.ping()  # a ping proves nothing
        client.execute_command(*end.split())
    await state(memory, "redis")
    await agrees(memory, archive)
    await exchange(memory, archive)
    await agrees(memory, archive)


async def test_a_redis_that_is_still_loading_is_away(make: Make, archive: ArchiveInMemory) -> None:
    with RedisServer(persistent=True) as server:
        memory = make(redis_url=server.url, archive=archive)
        await exchange(memory, archive)
        with redis.Redis(port=server.port) as client:
            ballast = client.pipeline()
            for n in range(10_000):
                ballast.set(f"ballast:{n}", "x", ex=1000)
            ballast.execute()
        server.kill()
        server.start("--key-load-delay", "200")
        once = Retry(NoBackoff(), 0)
        with (
            redis.Redis(port=server.port, retry=once) as client,
            pytest.raises(redis.BusyLoadingError),
        ):
            client.get("x")
        while memory.state != "local":  # by the first that it answers so, on a busy machine later
            await exchange(memory, archive)
        server.kill()
        server.start()
        await state(memory, "redis")
        await agrees(memory, archive)


async def test_forgotten_scripts_are_sent_again(
    memory: RedisConversationMemory, archive: ArchiveInMemory, own_server: RedisServer
) -> None:
    await exchange(memory, archive)
    with redis.Redis(port=own_server.port) as client:
        for _ in range(3):
            client.script_flush()
            await exchange(memory, archive)
            client.config_resetstat()
    assert memory.state == "redis"
    assert memory.counts["failed"] == 0
    await agrees(memory, archive)
    assert archive.loads == 1


async def test_connections_closed_while_idle_are_no_outage(
    memory: RedisConversationMemory, archive: ArchiveInMemory, own_server: RedisServer
) -> None:
    await exchange(memory, archive)
    with redis.Redis(port=own_server.port) as client:
        client.execute_command("client", "kill", "type", "normal", "skipme", "yes")
    await asyncio.sleep(0.05)  # the closing has to arrive; nothing here can be asked about it
    await exchange(memory, archive)
    assert memory.counts["failed"] == 0
    assert memory.state == "redis"


async def test_a_server_cut_off_alone_leaves_the_others_right(
    make: Make, server: RedisServer, relay: Relay, archive: ArchiveInMemory
) -> None:
    healthy = make(redis_url=server.url, archive=archive)
    cut_off = make(redis_url=relay.url, archive=archive)
    await exchange(healthy, archive)
    await exchange(cut_off, archive)
    relay.cut()
    await exchange(cut_off, archive)
    assert cut_off.state == "local"
    # The healthy one never heard of it, but each side knows where the conversation stands.
    await exchange(healthy, archive)
    await exchange(cut_off, archive)
    relay.mend()
    await state(cut_off, "redis")
    for memory in (healthy, cut_off):
        await exchange(memory, archive)
        await agrees(memory, archive)


@pytest.mark.parametrize("way", ["remember", "forget"])
async def test_a_cancelled_write_completes(
    memory: RedisConversationMemory,
    archive: ArchiveInMemory,
    own_server: RedisServer,
    way: str,
) -> None:
    await exchange(memory, archive)
    own_server.freeze()
    if way == "remember":
        write = asyncio.create_task(memory.remember("c", *archive.ask("c")))
    else:
        write = asyncio.create_task(memory.forget("c"))
    await asyncio.sleep(0.02)  # it is on its way; the frozen Redis can't tell
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    own_server.thaw()
    with redis.Redis(port=own_server.port) as client:
        expected = 3 if way == "remember" else 0
        await wait_until(
            lambda: client.llen("conversation:messages:c") == expected, "the write has arrived"
        )
    await agrees(memory, archive)


# Both stores away


async def test_with_both_away_only_what_is_known_to_be_whole_is_answered(
    memory: RedisConversationMemory, archive: ArchiveInMemory, own_server: RedisServer
) -> None:
    await exchange(memory, archive)
    archive.fill("cold", 2)
    own_server.kill()
    await exchange(memory, archive)
    position = archive.position("c")
    archive.is_away = True
    assert (await memory.read("c", at_least=position)).messages == archive.messages("c")
    with pytest.raises(Unavailable):
        await memory.read("cold")
    archive.is_away = False
    own_server.start()
    await state(memory, "redis")
    await agrees(memory, archive)
    await agrees(memory, archive, "cold")


async def test_without_redis_a_reader_who_knows_nothing_is_given_the_stores_latest(
    make: Make, nowhere: str, archive: ArchiveInMemory
) -> None:
    memory = make(redis_url=nowhere, archive=archive)
    await exchange(memory, archive)
    archive.answer("c", archive.ask("c")[1].turn)  # another server's; nobody tells this one
    await agrees(memory, archive)


async def test_a_touched_conversation_is_dropped_before_redis_is_used_again(
    make: Make, archive: ArchiveInMemory
) -> None:
    stale: list[str] = []
    with RedisServer(persistent=True) as server:
        client = redis.Redis(port=server.port)

        def changed(state: str) -> None:
            if state == "redis" and client.exists("conversation:messages:c"):
                stale.append("served before it was dropped")

        memory = make(redis_url=server.url, archive=archive, on_change=changed)
        await exchange(memory, archive)
        server.kill()
        await exchange(memory, archive)
        server.start()
        await state(memory, "redis")
        assert not stale
        client.close()


async def test_past_the_bound_every_conversation_is_dropped(
    make: Make, archive: ArchiveInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory.cached.MAX_TOUCHED", 3)
    with RedisServer(persistent=True) as server:
        memory = make(redis_url=server.url, archive=archive)
        names = [f"c{n}" for n in range(8)]
        for name in names:
            await exchange(memory, archive, name)
        server.kill()
        for name in names:
            await exchange(memory, archive, name)
        server.start()
        await state(memory, "redis")
        with redis.Redis(port=server.port) as client:
            assert not list(client.scan_iter("conversation:*"))
        for name in names:
            await agrees(memory, archive, name)
