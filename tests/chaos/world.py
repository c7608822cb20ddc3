"""The real thing: servers that share one MongoDB and one Redis, and a provider that they ask.

Each server has a way of its own to Redis, so that it can be cut off while the others are not.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

import redis

from tests.chaos.model import Model
from tests.support.app import UNLIMITED, App
from tests.support.mongod import Mongod
from tests.support.provider import Provider
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay

DATABASE = "chaos"
LEASE_SECONDS = 2
DRAIN_SECONDS = 2
SUMMARY_EVERY_TURNS = 4
"""As often as it goes: what an edit must take out of the notes is then soon in them."""


class Node:
    """One server, with an operator who starts it again whenever it ends."""

    def __init__(self, number: int, app: App, way: RedisWay) -> None:
        self.number = number
        self.app = app
        self.way = way

    async def start(self, timeout: float = 60.0) -> None:
        """Also while MongoDB is away: then it ends at once, and is started once more."""
        end = time.monotonic() + timeout
        while True:
            try:
                await asyncio.to_thread(self.app.start)
                return
            except AssertionError:
                await self.kill()
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.3)

    async def is_whole(self) -> bool:
        """Whether it says itself that nothing it needs is away, and that it hears the others."""
        return await asyncio.to_thread(self._says_it_is_whole)

    def _says_it_is_whole(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.app.url}/readyz", timeout=2) as answer:
                parts = json.load(answer)
        except OSError:
            return False
        return all(parts[name] == "ok" for name in ("redis", "store", "feed"))

    async def kill(self) -> None:
        await asyncio.to_thread(self.app.kill)

    async def drain(self) -> str | None:
        """SIGTERM; what was wrong with its end, if anything."""
        started = time.monotonic()
        try:
            code = await asyncio.to_thread(self.app.stop, 20.0)
        except subprocess.TimeoutExpired:
            await self.kill()
            return f"bad end: server {self.number} did not end within 20 s of SIGTERM"
        if code == 0:
            return None
        took = time.monotonic() - started
        return f"bad end: server {self.number} ended with {code} after {took:.1f} s"


class Past:
    """Redis with what it held at an earlier moment: a restore from yesterday's copy."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self._server = server
        self._dump = folder / "dump.rdb"
        self._copy = folder / "earlier.rdb"

    def keep(self) -> None:
        with redis.Redis(port=self._server.port) as client:
            client.save()
        self._dump.rename(self._copy)

    def start(self) -> None:
        """Start Redis, which is down, with the copy; the next start is an empty one again."""
        shutil.copy(self._copy, self._dump)
        try:
            self._server.start()
        finally:
            self._dump.unlink()


class World:
    """An async context manager; everything in ``folder``."""

    def __init__(self, folder: Path, servers: int) -> None:
        self.folder = folder
        self.provider = Provider()
        self.provider.respond = Model().respond
        at = self.redis_folder = folder / "redis"
        at.mkdir()
        # Its own folder for the copies; DEBUG, because that is how it is made to hang by itself.
        self.redis = RedisServer("--dir", str(at), "--enable-debug-command", "local")
        self.past = Past(self.redis, at)
        self.mongod = Mongod(folder / "mongod")
        self.nodes: list[Node] = []
        self.only_the_store_knows = asyncio.Lock()
        """Held by whoever sends again what only the permanent store can recognise, and while that
        is away: what then is answered twice is kept once, but no reader could make sense of it."""
        self._servers = servers
        self._started = AsyncExitStack()

    @property
    def urls(self) -> list[str]:
        return [node.app.url for node in self.nodes]

    async def __aenter__(self) -> World:
        async with AsyncExitStack() as started:
            await self.provider.start()
            started.push_async_callback(self.provider.stop)
            started.enter_context(self.redis)
            started.callback(self.mongod.__exit__, None, None, None)
            await asyncio.to_thread(self.mongod.start)
            settings = {
                "MONGODB_URI": self.mongod.uri,
                "MONGODB_DATABASE": DATABASE,
                "TURN_LEASE_SECONDS": str(LEASE_SECONDS),
                "DRAIN_GRACE_SECONDS": str(DRAIN_SECONDS),
                "SUMMARY_EVERY_TURNS": str(SUMMARY_EVERY_TURNS),
                "LOG_LEVEL": "debug",
                **UNLIMITED,
                "OPENAI_API_KEY": "test",
                "OPENAI_BASE_URL": self.provider.base_url,
                "OPENAI_MODEL": "test-model",
            }
            for number in range(1, self._servers + 1):
                way = await started.enter_async_context(RedisWay(self.redis.port))
                folder = self.folder / f"server-{number}"
                app = App(folder, warm=True, REDIS_URL=way.url, **settings)
                started.callback(app.__exit__)
                self.nodes.append(Node(number, app, way))
            await asyncio.gather(*(node.start() for node in self.nodes))
            self._started = started.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._started.aclose()
