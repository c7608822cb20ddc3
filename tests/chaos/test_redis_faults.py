"""What the saboteur does to a running Redis is what its faults' names say, and is undone."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError

from tests.chaos.redis_faults import FILLER, RedisFaults
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until


class Brief(random.Random):
    """Every pause is the shortest there is, every choice the first."""

    def uniform(self, a: float, b: float) -> float:
        return min(a, b)

    def choice(self, seq):  # type: ignore[no-untyped-def]
        return seq[0]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer("--dir", str(tmp_path)) as server:
        yield server


@pytest.fixture
def noted() -> list[str]:
    return []


@pytest.fixture
def faults(server: RedisServer, tmp_path: Path, noted: list[str]) -> RedisFaults:
    return RedisFaults(server, tmp_path, lambda name, what: noted.append(name + what))


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis(port=server.port, decode_responses=True, retry=None) as client:
        yield client


async def test_redis_comes_back_from_its_aof_and_the_next_time_empty(
    faults: RedisFaults, redis: Redis, server: RedisServer, tmp_path: Path
) -> None:
    await redis.set("before", "1")
    fault = asyncio.create_task(faults.kill_and_keep(Brief()))
    await wait_until(lambda: _has_aof(redis), "it has an AOF")
    await redis.set("since", "1")
    pid = server.pid
    await fault
    await redis.connection_pool.disconnect()
    assert server.pid != pid
    assert sorted(await redis.keys()) == ["before", "since"]
    assert not (tmp_path / "appendonlydir").exists()
    server.kill()
    server.start()
    await redis.connection_pool.disconnect()
    assert await redis.keys() == []
    await faults.kill_and_keep(Brief())  # nothing of the first is in its way
    await redis.connection_pool.disconnect()
    assert await redis.keys() == []


async def _has_aof(redis: Redis) -> bool:
    state = await redis.info("persistence")
    return bool(state["aof_enabled"]) and not state["aof_rewrite_in_progress"]


async def test_a_full_redis_reads_and_refuses_writes(faults: RedisFaults, redis: Redis) -> None:
    await redis.set("key", "value")
    fault = asyncio.create_task(faults.fill_up(Brief()))
    with pytest.raises(OutOfMemoryError):
        await _write_until(fault, redis)
    assert await redis.get("key") == "value"
    await fault
    assert await redis.set("key", "value")


async def _write_until(fault: asyncio.Task[None], redis: Redis) -> None:
    while not fault.done():
        await redis.set("key", "value")
        await asyncio.sleep(0.01)


async def test_a_pressed_redis_lets_go_of_keys_and_keeps_nothing_of_ours(
    faults: RedisFaults, redis: Redis, noted: list[str]
) -> None:
    for number in range(100):
        await redis.set(f"key {number}", "x" * 5_000)
    await faults.press(Brief())
    evicted = (await redis.info("stats"))["evicted_keys"]
    assert noted == [f"redis evicts: {evicted} keys in 1.0 s"]
    assert evicted > 0
    left = await redis.keys()
    assert 0 < len(left) < 100
    assert not [name for name in left if name.startswith(FILLER)]
    assert await redis.config_get("maxmemory*") == {
        **await redis.config_get("maxmemory*"),
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
    }


async def test_a_demoted_redis_reads_and_refuses_writes(faults: RedisFaults, redis: Redis) -> None:
    await redis.set("key", "value")
    fault = asyncio.create_task(faults.make_read_only(Brief()))
    with pytest.raises(ReadOnlyError):
        await _write_until(fault, redis)
    assert await redis.get("key") == "value"
    await fault
    assert await redis.set("key", "other")


async def test_scripts_are_forgotten(faults: RedisFaults, redis: Redis) -> None:
    script = await redis.script_load("return 1")
    assert await redis.evalsha(script, 0) == 1
    await faults.forget_scripts(Brief())
    with pytest.raises(NoScriptError):
        await redis.evalsha(script, 0)


@pytest.mark.parametrize("seed", range(4))
async def test_one_key_of_a_conversation_or_a_feed_goes(
    faults: RedisFaults, redis: Redis, noted: list[str], seed: int
) -> None:
    names = {"conversation:messages:c", "conversation:summary:c", "conversation:turns:c"}
    names |= {"feed:log:{c}"}
    for name in [*names, "another"]:
        await redis.set(name, "1")
    await faults.delete_one_key(random.Random(seed))
    (gone,) = names - set(await redis.keys())
    assert noted == [f"redis key deleted: {gone}"]
    assert await redis.get("another") == "1"


async def test_clients_wait_while_they_are_paused(faults: RedisFaults, redis: Redis) -> None:
    await redis.ping()
    began = time.monotonic()
    fault = asyncio.create_task(faults.pause(Brief()))
    await asyncio.sleep(0.1)
    await redis.set("key", "value")
    assert time.monotonic() - began > 0.25
    await fault
