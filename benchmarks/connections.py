"""Clients that come and are silent: what a connect takes, what each costs, how many one process
holds.

Ours is the whole server, with Redis and MongoDB, where each client is a guest that is given a token
and its ``session``; beside it the plain server, which asks nobody who comes: once as browsers meet
it, who offer compression, and once by clients that offer none.
"""

from __future__ import annotations

import asyncio
import math
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from benchmarks.report import Missing, Row, compared
from benchmarks.servers import Running, module, mongod, ours, pid_of, redis_server
from benchmarks.silent_clients import raise_file_limit
from benchmarks.timing import cpu_seconds, in_turns, resident_bytes

AT_ONCE = 50
"""Connects under way."""
CLIENTS = 300
"""That come in a round."""
HELD, HELD_LONG = 2_000, 10_000
SPARE_FILES = 500
"""Of a process, for all that is no client's connection."""
SETTLE_SECONDS = 0.2
PATIENCE_SECONDS = 120.0
PINGED_WITHIN_SECONDS = 45.0
"""The server pings each of its clients every 25 s."""

TIME_GOAL = 1.25
"""Times the plain server's, at most: a connect rate of 0.8 times its."""

PLAIN, UNCOMPRESSED = "plain server", "plain server, no compression offered"


class Crowd:
    """The silent clients of one server, in a process of their own."""

    def __init__(self, clients: Running, server: int) -> None:
        self._clients = clients
        self.server = server
        """Its process."""

    async def connect(self, count: int) -> dict[str, float]:
        return await self._asked(f"connect {count} {AT_ONCE}")

    async def state(self) -> dict[str, float]:
        return await self._asked("state")

    async def drop(self) -> None:
        await self._asked("drop")

    async def _asked(self, command: str) -> dict[str, float]:
        stdin, stdout = self._clients.process.stdin, self._clients.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{command}\n".encode())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer: dict[str, float] = orjson.loads(await stdout.readline())
        except (TimeoutError, ValueError):
            raise AssertionError(f"the silent clients did not {command.split()[0]}") from None
        return answer


@dataclass(frozen=True)
class Window:
    """What a round's connects took, for one of them."""

    seconds: float
    cpu: float
    """Of the server."""
    clients_cpu: float
    memory: float
    """Bytes of the server that stay."""


@dataclass(frozen=True)
class Held:
    """How many clients were held until each had answered a ping, and what that took."""

    clients: int
    wrong: int
    """Refused, cut off, or not pinged in time."""
    memory: float
    """Bytes for each, of those that came after the first."""
    cpu: float
    """Of the server, of one core, while all were silent."""


async def measure(long: bool) -> list[Row]:
    if sys.platform != "linux":
        raise Missing("what a process uses is read from Linux's /proc")
    raise_file_limit()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES
    async with crowds() as here:
        windows = await connects(here, clients=CLIENTS, rounds=12 if long else 5)
        for name, crowd in here.items():
            if name != "here":
                await crowd.drop()
        held = await hold(here["here"], min(most, HELD_LONG if long else HELD))
    return [*_rows(windows), *_held_rows(held)]


@asynccontextmanager
async def crowds() -> AsyncIterator[dict[str, Crowd]]:
    """Of each way to connect nobody yet."""
    async with AsyncExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="mnemosio-bench-")))
        redis = running.enter_context(redis_server())
        mongo = running.enter_context(mongod(folder / "mongod"))
        app = await ours(running, folder, REDIS_URL=redis.url, MONGODB_URI=mongo.uri)
        # Each has its own, so that neither pays for the clients of the other.
        plain, uncompressed = [
            await running.enter_async_context(module("benchmarks.plain_server", "1"))
            for _ in range(2)
        ]
        found = {}
        for name, port, pid, *options in (
            ("here", app.port, pid_of(app)),
            (PLAIN, plain.port, plain.process.pid),
            (UNCOMPRESSED, uncompressed.port, uncompressed.process.pid, "--plain"),
        ):
            clients = await running.enter_async_context(
                module("benchmarks.silent_clients", str(port), *options)
            )
            found[name] = Crowd(clients, pid)
        yield found


async def connects(here: dict[str, Crowd], *, clients: int, rounds: int) -> dict[str, list[Window]]:
    """Of each way a window a round, after one that does not count. All stay connected. Raises
    ``AssertionError`` where one is not let in."""
    windows: dict[str, list[Window]] = {name: [] for name in here}
    for number, name in in_turns(list(here), rounds + 1):
        crowd = here[name]
        used, held = cpu_seconds(crowd.server), resident_bytes(crowd.server)
        took = await crowd.connect(clients)
        await asyncio.sleep(SETTLE_SECONDS)
        state = await crowd.state()
        assert state["connected"] == (number + 1) * clients, f"{name}: not all were let in"
        if number:
            windows[name].append(
                Window(
                    seconds=took["seconds"] / clients,
                    cpu=(cpu_seconds(crowd.server) - used) / clients,
                    clients_cpu=took["cpu"] / clients,
                    memory=(resident_bytes(crowd.server) - held) / clients,
                )
            )
    return windows


async def hold(crowd: Crowd, clients: int) -> Held:
    """Until each of so many has answered a ping."""
    before, memory = await crowd.state(), resident_bytes(crowd.server)
    more = int(clients - before["connected"])
    await crowd.connect(more)
    memory = resident_bytes(crowd.server) - memory
    began, used = time.monotonic(), cpu_seconds(crowd.server)
    while (state := await crowd.state())["unasked"]:
        if time.monotonic() - began > PINGED_WITHIN_SECONDS:
            break
        await asyncio.sleep(0.5)
    cpu = (cpu_seconds(crowd.server) - used) / (time.monotonic() - began)
    wrong = clients - state["connected"] + state["unasked"]
    return Held(clients, int(wrong), memory / more, cpu)


def _rows(windows: dict[str, list[Window]]) -> list[Row]:
    floors = (PLAIN, UNCOMPRESSED)
    rate = compared("connects a second", "", windows, lambda w: 1 / w.seconds, *floors)
    seconds = compared("time for a connect", "µs", windows, lambda w: 1e6 * w.seconds, *floors)
    return [
        # More is better here: its ratio would say the opposite of all the others.
        replace(rate, floors=tuple(replace(floor, ratio=math.nan) for floor in rate.floors)),
        replace(seconds, floors=tuple(replace(floor, goal=TIME_GOAL) for floor in seconds.floors)),
        compared("server CPU for a connect", "µs", windows, lambda w: 1e6 * w.cpu, *floors),
        compared("the clients' own", "µs", windows, lambda w: 1e6 * w.clients_cpu, *floors),
        compared(
            "memory for a silent client (goal 35 kB)",
            "kB",
            windows,
            lambda w: w.memory / 1000,
            *floors,
        ),
    ]


def _held_rows(held: Held) -> list[Row]:
    idle = f"{held.clients:,} idle clients"
    return [
        Row(f"{idle}: memory for each (goal 35 kB)", "kB", held.memory / 1000),
        Row(f"{idle}: server CPU", "%", 100 * held.cpu),
        Row(f"{idle}: lost, or not pinged", "", held.wrong, is_fault=held.wrong > 0),
    ]
