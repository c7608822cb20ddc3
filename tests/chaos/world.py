"""The real thing: servers that share one MongoDB and one Redis, and a provider that they ask."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
import zlib
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from tests.support.app import App
from tests.support.mongod import Mongod
from tests.support.provider import Body, Provider, Script, echo, is_summary
from tests.support.redis_server import RedisServer

DATABASE = "chaos"
LEASE_SECONDS = 2
DRAIN_SECONDS = 2


def answer_to(question: str) -> str:
    """Always the same, of a length that depends on the question."""
    size = 4 + zlib.crc32(question.encode()) % 12
    return f"You said “{question}”." + "".join(f" word-{number}" for number in range(size))


def respond(body: Body) -> Script:
    if is_summary(body):
        return echo(body)
    question = body["messages"][-1]["content"]
    delay = (1, 2, 4, 10)[zlib.crc32(question.encode()) // 16 % 4] / 100
    return Script(re.findall(r"\s*\S+", answer_to(question)), delay=delay)


class Node:
    """One server, with an operator who starts it again whenever it ends."""

    def __init__(self, number: int, app: App) -> None:
        self.number = number
        self.app = app

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


class World:
    """An async context manager; everything in ``folder``."""

    def __init__(self, folder: Path, servers: int) -> None:
        self.folder = folder
        self.provider = Provider()
        self.provider.respond = respond
        self.redis = RedisServer()
        self.mongod = Mongod(folder / "mongod")
        self.nodes: list[Node] = []
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
                "REDIS_URL": self.redis.url,
                "MONGODB_URI": self.mongod.uri,
                "MONGODB_DATABASE": DATABASE,
                "TURN_LEASE_SECONDS": str(LEASE_SECONDS),
                "DRAIN_GRACE_SECONDS": str(DRAIN_SECONDS),
                "OPENAI_API_KEY": "test",
                "OPENAI_BASE_URL": self.provider.base_url,
                "OPENAI_MODEL": "test-model",
            }
            for number in range(1, self._servers + 1):
                app = App(self.folder / f"server-{number}", **settings)
                started.callback(app.__exit__)
                self.nodes.append(Node(number, app))
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
