"""What can go wrong with a Redis that runs: each fault is made with its own commands, and undone
when it returns."""

from __future__ import annotations

import asyncio
import random
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import redis

from tests.support.redis_server import RedisServer

Note = Callable[[str, str], None]
"""Told of each fault: its name, and what there is to say about it."""

FILLER = "chaos:filler:"
FILLER_SECONDS = 30
FILLER_BYTES = 20_000
ROOM_BYTES = 300_000
"""What Redis may grow by while it is pressed: a few of our fillers, then it evicts."""
AOF_SECONDS = 5.0
"""For writing the first AOF of the little that it holds here."""
ONE_OF_THESE = (
    "conversation:messages:*",
    "conversation:summary:*",
    "conversation:turns:*",
    "feed:log:*",
)


class RedisFaults:
    """``folder`` is where ``server`` keeps its files."""

    def __init__(self, server: RedisServer, folder: Path, note: Note) -> None:
        self._server = server
        self._folder = folder
        self._note = note

    def weighed(self) -> dict[Callable[[random.Random], Awaitable[None]], int]:
        """Each, and how often it comes among the others."""
        return {
            self.kill_and_keep: 2,
            self.fill_up: 2,
            self.press: 2,
            self.make_read_only: 2,
            self.forget_scripts: 1,
            self.delete_one_key: 3,
            self.pause: 1,
        }

    async def kill_and_keep(self, rng: random.Random) -> None:
        """It comes back from its AOF, with all that it had acknowledged."""
        writes, away = rng.uniform(0.2, 3), rng.choice((0.0, 1.0))
        await self._begin_aof()
        await asyncio.sleep(writes)
        self._note("redis killed, with AOF", f": after {writes:.1f} s of it, for {away} s")
        await asyncio.to_thread(self._server.kill)
        await asyncio.sleep(away)
        await asyncio.to_thread(self._server.start, "--appendonly", "yes")
        await self._until_loaded()
        await self._do("CONFIG", "SET", "appendonly", "no")
        # Else the next one to begin an AOF here would find the old one.
        shutil.rmtree(self._folder / "appendonlydir")

    async def fill_up(self, rng: random.Random) -> None:
        """As a Redis without a policy that has no memory left: it reads, and refuses writes."""
        pause = rng.uniform(1, 4)
        self._note("redis full", f": for {pause:.1f} s")
        await self._do("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")
        await asyncio.sleep(pause)
        await self._do("CONFIG", "SET", "maxmemory", "0")

    async def press(self, rng: random.Random) -> None:
        """Somebody else's keys take the room, and ours go one by one."""
        pause = rng.uniform(1, 4)
        limit = (await self._info("memory"))["used_memory"] + ROOM_BYTES
        before = (await self._info("stats"))["evicted_keys"]
        await self._do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", str(limit))
        end = time.monotonic() + pause
        while time.monotonic() < end:
            name, value = FILLER + secrets.token_hex(8), "x" * FILLER_BYTES
            await self._do("SET", name, value, "EX", str(FILLER_SECONDS))
            await asyncio.sleep(0.05)
        await self._do("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
        evicted = (await self._info("stats"))["evicted_keys"] - before
        self._note("redis evicts", f": {evicted} keys in {pause:.1f} s")
        names = await self._names(f"{FILLER}*")
        if names:
            await self._do("DEL", *names)

    async def make_read_only(self, rng: random.Random) -> None:
        """As one that has been demoted: a replica of what is not there. It answers reads."""
        pause = rng.uniform(1, 4)
        self._note("redis read-only", f": for {pause:.1f} s")
        await self._do("REPLICAOF", "127.0.0.1", "1")
        await asyncio.sleep(pause)
        await self._do("REPLICAOF", "NO", "ONE")

    async def forget_scripts(self, rng: random.Random) -> None:
        self._note("redis scripts forgotten", "")
        await self._do("SCRIPT", "FLUSH")

    async def delete_one_key(self, rng: random.Random) -> None:
        """One of a conversation's three, or the stream of its feed."""
        names = await self._names(rng.choice(ONE_OF_THESE))
        if names:
            name = rng.choice(sorted(names))
            self._note("redis key deleted", f": {name}")
            await self._do("DEL", name)

    async def pause(self, rng: random.Random) -> None:
        """It lets clients wait: all of them, or those that write."""
        pause, which = rng.uniform(0.3, 3), rng.choice(("ALL", "WRITE"))
        self._note("redis pauses clients", f": {which} for {pause:.1f} s")
        await self._do("CLIENT", "PAUSE", str(int(pause * 1000)), which)
        await asyncio.sleep(pause)

    async def _begin_aof(self) -> None:
        """Returns when what it holds is in the AOF, and all that comes follows."""
        await self._do("CONFIG", "SET", "appendonly", "yes", "appendfsync", "always")
        end = time.monotonic() + AOF_SECONDS
        while True:
            state = await self._info("persistence")
            if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
                break
            assert time.monotonic() < end, "redis does not end its first AOF"
            await asyncio.sleep(0.02)
        assert state["aof_last_bgrewrite_status"] == "ok", state

    async def _until_loaded(self) -> None:
        while (await self._info("persistence"))["loading"]:
            await asyncio.sleep(0.02)

    async def _info(self, section: str) -> dict[str, Any]:
        return await self._with(lambda client: client.info(section))

    async def _names(self, pattern: str) -> list[str]:
        return await self._with(lambda client: list(client.scan_iter(pattern, count=1000)))

    async def _do(self, *command: str) -> None:
        await self._with(lambda client: client.execute_command(*command))

    async def _with(self, work: Callable[[redis.Redis], Any]) -> Any:
        def execute() -> Any:
            with redis.Redis(port=self._server.port, decode_responses=True) as client:
                return work(client)

        return await asyncio.to_thread(execute)
