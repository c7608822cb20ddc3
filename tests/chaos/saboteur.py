"""Who breaks things: which, when and for how long is decided by the seed alone."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext

import aiohttp
import redis

from tests.chaos.redis_faults import RedisFaults
from tests.chaos.tab import Tab
from tests.chaos.world import LEASE_SECONDS, Node, World
from tests.support.health import metric

# A server in whose spool there is something may be down for some seconds.
DRAINED_SECONDS = 20.0

# By then every server uses a Redis that is back.
NOTICED_SECONDS = 1.0

Fault = Callable[[random.Random], Awaitable[None]]


class Saboteur:
    """Every fault is healed by itself, so when ``work`` returns the world is whole again.

    Lanes work side by side: at most one fault at a time each on the servers, their ways to Redis,
    Redis itself, MongoDB and the clients, so that they meet one another. But for one pair: while
    MongoDB is away, servers see each other by Redis alone, and without that may do work twice, as
    the contract says. What then must hold is tested one by one; here one waits for the other.
    """

    def __init__(self, world: World, tabs: Sequence[Tab], seed: int) -> None:
        self.faults: Counter[str] = Counter()
        self.diary: list[str] = []
        self.mishaps: list[str] = []
        self._world = world
        self._tabs = tabs
        self._seed = seed
        self._began = 0.0
        self._stores = asyncio.Lock()
        """Held while one of the stores, or a way to it, is broken."""

    async def work(self, seconds: float, *, calm: bool = False) -> None:
        """``calm``: nothing but clients' connections is broken."""
        self._began = time.monotonic()
        clients = self._lane("clients", {self._cut_a_client: 1}, (0.3, 2.5), seconds)
        if calm:
            await clients
            return
        servers = {
            self._kill_a_server: 4,
            self._drain_a_server: 3,
            self._freeze_a_server: 4,
            self._kill_all_servers: 1,
        }
        ways = {
            self._cut_off_a_server: 3,
            self._freeze_a_way: 2,
            self._deafen_a_server: 4,
        }
        redis_faults = {
            self._kill_redis: 2,
            self._turn_back_redis: 2,
            self._empty_redis: 2,
            self._freeze_redis: 1,
            self._let_redis_hang: 1,
            self._kill_subscriptions: 2,
            self._kill_commands: 2,
            self._delete_some_keys: 3,
        }
        more = RedisFaults(self._world.redis, self._world.redis_folder, self._note)
        redis_faults |= more.weighed()
        mongo = {self._kill_mongod: 2, self._freeze_mongod: 4, self._take_mongod_away: 1}
        await asyncio.gather(
            self._lane("servers", servers, (1, 6), seconds),
            self._lane("ways", ways, (1, 6), seconds, self._stores),
            self._lane("redis", redis_faults, (0.5, 5), seconds, self._stores),
            self._lane("mongod", mongo, (5, 15), seconds, self._stores),
            clients,
        )

    async def _lane(
        self,
        name: str,
        faults: dict[Fault, int],
        gap: tuple[float, float],
        seconds: float,
        alone: asyncio.Lock | None = None,
    ) -> None:
        rng = random.Random(f"{self._seed} {name}")
        while True:
            await asyncio.sleep(rng.uniform(*gap))
            if time.monotonic() - self._began > seconds:
                return
            fault = rng.choices(list(faults), list(faults.values()))[0]
            async with alone or nullcontext():
                if name != "mongod":
                    await fault(random.Random(rng.random()))
                    continue
                async with self._world.only_the_store_knows:
                    await asyncio.sleep(NOTICED_SECONDS)
                    await fault(random.Random(rng.random()))
                    await self._until_drained()

    async def _until_drained(self) -> None:
        """Also those of servers that are down at the moment."""
        end = time.monotonic() + DRAINED_SECONDS
        for node in self._world.nodes:
            while time.monotonic() < end:
                try:
                    if await metric(node.app, "mnemosio_turns_spooled") == 0:
                        break
                except (OSError, TimeoutError, aiohttp.ClientError):
                    pass  # it is down, or frozen
                await asyncio.sleep(0.3)

    def _note(self, fault: str, what: str = "") -> None:
        self.faults[fault] += 1
        self.diary.append(f"{time.monotonic() - self._began:7.2f}  {fault}{what}")

    # Servers

    async def _kill_a_server(self, rng: random.Random) -> None:
        node, away = rng.choice(self._world.nodes), rng.choice((0.0, 0.5, 3.5))
        self._note("server killed", f": {node.number}, for {away} s")
        await node.kill()
        await asyncio.sleep(away)
        await self._start(node)

    async def _kill_all_servers(self, rng: random.Random) -> None:
        self._note("all servers killed")
        for node in self._world.nodes:
            await node.kill()
        await asyncio.gather(*(self._start(node) for node in self._world.nodes))

    async def _drain_a_server(self, rng: random.Random) -> None:
        node = rng.choice(self._world.nodes)
        self._note("server drained", f": {node.number}")
        mishap = await node.drain()
        if mishap is not None:
            self.mishaps.append(mishap)
        await self._start(node)

    async def _freeze_a_server(self, rng: random.Random) -> None:
        node, pause = rng.choice(self._world.nodes), LEASE_SECONDS + rng.uniform(0.2, 3)
        self._note("server frozen", f": {node.number}, for {pause:.1f} s")
        node.app.signal(signal.SIGSTOP)
        await asyncio.sleep(pause)
        node.app.signal(signal.SIGCONT)

    async def _start(self, node: Node) -> None:
        await node.start()
        self.diary.append(f"{time.monotonic() - self._began:7.2f}  server {node.number} is up")

    # The ways of single servers to Redis

    async def _cut_off_a_server(self, rng: random.Random) -> None:
        """The others go on with Redis, and this one without."""
        node, away = rng.choice(self._world.nodes), rng.choice((0.0, 1.0, 4.0))
        self._note("server cut off redis", f": {node.number}, for {away} s")
        node.way.cut()
        await asyncio.sleep(away)
        node.way.mend()

    async def _freeze_a_way(self, rng: random.Random) -> None:
        node, pause = rng.choice(self._world.nodes), rng.uniform(0.3, 4)
        self._note("way to redis frozen", f": of {node.number}, for {pause:.1f} s")
        node.way.freeze()
        await asyncio.sleep(pause)
        node.way.thaw()

    async def _deafen_a_server(self, rng: random.Random) -> None:
        """Its commands work, and what it has subscribed to does not arrive any more."""
        node, pause = rng.choice(self._world.nodes), rng.uniform(0.5, 8)
        self._note("server deafened", f": {node.number}, for {pause:.1f} s")
        node.way.freeze(subscriptions_only=True)
        await asyncio.sleep(pause)
        node.way.thaw()

    # Redis

    async def _kill_redis(self, rng: random.Random) -> None:
        away = rng.choice((0.0, 1.0, 3.0))
        self._note("redis killed", f": for {away} s, then empty")
        await asyncio.to_thread(self._world.redis.kill)
        await asyncio.sleep(away)
        await asyncio.to_thread(self._world.redis.start)

    async def _turn_back_redis(self, rng: random.Random) -> None:
        """It comes back with what it held a while ago."""
        ago, away = rng.uniform(0.2, 3), rng.choice((0.0, 1.0))
        await asyncio.to_thread(self._world.past.keep)
        await asyncio.sleep(ago)
        self._note("redis turned back", f": by {ago:.1f} s, after {away} s")
        await asyncio.to_thread(self._world.redis.kill)
        await asyncio.sleep(away)
        await asyncio.to_thread(self._world.past.start)

    async def _empty_redis(self, rng: random.Random) -> None:
        self._note("redis emptied")
        await self._redis("FLUSHALL")

    async def _let_redis_hang(self, rng: random.Random) -> None:
        """By itself, as with one slow command: unlike a frozen one it answers all of it then."""
        pause = rng.uniform(0.3, 2)
        self._note("redis hangs", f": for {pause:.1f} s")
        await self._redis("DEBUG", "SLEEP", f"{pause:.1f}")

    async def _kill_subscriptions(self, rng: random.Random) -> None:
        self._note("subscriptions killed")
        await self._redis("CLIENT", "KILL", "TYPE", "pubsub")

    async def _kill_commands(self, rng: random.Random) -> None:
        self._note("connections to redis killed")
        await self._redis("CLIENT", "KILL", "TYPE", "normal")

    async def _redis(self, *command: str) -> None:
        def execute() -> None:
            with redis.Redis(port=self._world.redis.port) as client:
                client.execute_command(*command)

        await asyncio.to_thread(execute)

    async def _freeze_redis(self, rng: random.Random) -> None:
        pause = rng.uniform(1, 3)
        self._note("redis frozen", f": for {pause:.1f} s")
        self._world.redis.freeze()
        await asyncio.sleep(pause)
        self._world.redis.thaw()

    async def _delete_some_keys(self, rng: random.Random) -> None:
        with redis.Redis(port=self._world.redis.port) as client:
            names = sorted(client.scan_iter())
            some = rng.sample(names, min(len(names), rng.randint(1, 4)))
            self._note("redis keys deleted", f": {len(some)}")
            if some:
                client.delete(*some)

    # MongoDB

    async def _kill_mongod(self, rng: random.Random) -> None:
        away = rng.choice((0.0, 2.0))
        self._note("mongod killed", f": for {away} s")
        await asyncio.to_thread(self._world.mongod.kill)
        await asyncio.sleep(away)
        await asyncio.to_thread(self._world.mongod.start)

    async def _freeze_mongod(self, rng: random.Random) -> None:
        pause = rng.uniform(1, 4)
        self._note("mongod frozen", f": for {pause:.1f} s")
        self._world.mongod.pause()
        await asyncio.sleep(pause)
        self._world.mongod.resume()

    async def _take_mongod_away(self, rng: random.Random) -> None:
        """For longer than anything waits for it."""
        away, is_frozen = rng.uniform(6, 12), rng.random() < 0.5
        how = "frozen" if is_frozen else "killed"
        self._note("mongod away for long", f": {how}, for {away:.1f} s")
        if is_frozen:
            self._world.mongod.pause()
            await asyncio.sleep(away)
            self._world.mongod.resume()
        else:
            await asyncio.to_thread(self._world.mongod.kill)
            await asyncio.sleep(away)
            await asyncio.to_thread(self._world.mongod.start)

    # Clients

    async def _cut_a_client(self, rng: random.Random) -> None:
        tab = rng.choice(self._tabs)
        self._note("client cut", f": {tab.name}")
        await tab.cut()
