"""Many users in one process: ``python -m benchmarks.capacity.generator LEVEL``.

``LEVEL`` is a ``Level`` as JSON, and what it prints a ``Seen``. A process of its own, so that what
it uses is known and nobody else's work delays its clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from benchmarks.capacity.tally import Tally
from benchmarks.capacity.users import USERS, User
from benchmarks.timing import (
    CLOCK_TICKS,
    cpu_seconds,
    percentile,
    resident_bytes,
    settle_garbage_collector,
)

CONNECTING_AT_ONCE = 20
CONNECT_SECONDS = 30.0
PATIENCE_SECONDS = 20.0
"""For the last answers: the provider says one in four seconds, the rest is the server's delay."""


@dataclass(frozen=True)
class Level:
    user: str
    """One of ``users.USERS``."""
    port: int
    users: int
    tokens: int = 200
    """Of an answer."""
    ramp: float = 4.0
    """Seconds in which they all begin: as long as an answer, so that ends are spread, too."""
    window: float = 10.0
    """Seconds, after the ramp, that are measured. What was begun is read to its end after it."""
    pids: dict[str, int] | None = None
    """Of the servers at work: "server", "provider", and others by any name."""


@dataclass(frozen=True)
class Seen:
    """Times in seconds."""

    users: int
    seconds: float
    tokens: int
    deliveries: int
    answers: int
    firsts: tuple[float, float]
    """Median and p99, as the two that follow; infinite where there was none."""
    gaps: tuple[float, float]
    lags: tuple[float, float]
    wrong: int
    errors: dict[str, int]
    cpu: dict[str, float]
    """Cores, by the level's names, "generator" and "foreign": what is nobody's of these."""
    resident: float
    """Bytes of the server at the end of the window."""
    deflates: bool


async def drive(level: Level) -> Seen:
    tally = Tally()
    users = await _connect(level, tally)
    began = [
        asyncio.get_running_loop().call_later(level.ramp * place / len(users), user.start)
        for place, user in enumerate(users)
    ]
    await asyncio.sleep(level.ramp)
    before = Usage(level.pids or {})
    tally.is_open = True
    await asyncio.sleep(level.window)
    tally.is_open = False
    after = Usage(level.pids or {})
    server = (level.pids or {}).get("server")
    resident = resident_bytes(server) if server else 0.0
    for handle in began:
        handle.cancel()
    for user in users:
        user.finish()
    late = await _late(users)
    tally.errors += ["the answer did not end"] * late
    deflates = any(user.deflates for user in users)
    for user in users:
        user.close()
    return Seen(
        users=level.users,
        seconds=after.at - before.at,
        tokens=tally.tokens,
        deliveries=tally.deliveries,
        answers=tally.answers,
        firsts=_middle_and_end(tally.firsts),
        gaps=_middle_and_end(tally.gaps),
        lags=_middle_and_end(tally.lags),
        wrong=tally.wrong,
        errors=dict(Counter(tally.errors)),
        cpu=after.since(before),
        resident=resident,
        deflates=deflates,
    )


async def _late(users: list[User]) -> int:
    """How many answers did not end in time."""
    if not users:
        return 0
    _, late = await asyncio.wait([user.done for user in users], timeout=PATIENCE_SECONDS)
    return len(late)


async def _connect(level: Level, tally: Tally) -> list[User]:
    """Those who could not are errors, and not there."""
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(CONNECTING_AT_ONCE)
    make = USERS[level.user]

    async def one() -> User | None:
        async with gate:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    _, user = await loop.create_connection(
                        lambda: make(level.port, tally, level.tokens), "127.0.0.1", level.port
                    )
                    await user.ready
                    return user
            except OSError as error:  # a TimeoutError is one
                tally.errors.append(f"not let in: {error!r}")
                return None

    users = await asyncio.gather(*(one() for _ in range(level.users)))
    return [user for user in users if user is not None]


class Usage:
    """CPU seconds used until now, by this machine, these processes and this one."""

    def __init__(self, pids: dict[str, int]) -> None:
        self.at = time.monotonic()
        own = os.times()
        self._used = {name: cpu_seconds(pid) for name, pid in pids.items()}
        self._used["generator"] = own.user + own.system
        # user, nice, system, idle, iowait, irq, softirq: what was neither idle nor stolen
        ticks = [int(field) for field in Path("/proc/stat").read_text().split()[1:8]]
        self._machine = (sum(ticks) - ticks[3] - ticks[4]) / CLOCK_TICKS

    def since(self, earlier: Usage) -> dict[str, float]:
        """Cores in use on the average."""
        seconds = self.at - earlier.at
        used = {name: (self._used[name] - earlier._used[name]) / seconds for name in self._used}
        machine = (self._machine - earlier._machine) / seconds
        return used | {"foreign": max(0.0, machine - sum(used.values()))}


def _middle_and_end(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return float("inf"), float("inf")
    return percentile(values, 50), percentile(values, 99)


def main() -> None:
    level = Level(**json.loads(sys.argv[1]))
    settle_garbage_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(drive(level)))))


if __name__ == "__main__":
    main()
