"""The logs in Redis without the feeds; and what a test does with the one of ``CONVERSATION``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from memory.records import Position
from redislink.link import Link
from server.feed import events
from server.feed.keys import feed_keys
from server.feed.line import MOST_TOGETHER, Write
from server.feed.log import Checkpoint, Log
from server.feed.shared import Heard, SharedLogs
from tests.support.turns import CONVERSATION, a_turn
from tests.support.wait import wait_until


class NothingToRepair:
    wanting = False

    async def repair(self, link: Link) -> None:
        pass


async def nothing_to_read() -> None:
    pass


@asynccontextmanager
async def shared_logs(
    url: str, server: str = "us", *, changed: Callable[[str], None] = lambda state: None
) -> AsyncIterator[SharedLogs]:
    logs = SharedLogs(
        url, server=server, repairs=NothingToRepair(), look=nothing_to_read, on_change=changed
    )
    await logs.connect()
    try:
        yield logs
    finally:
        await logs.close()


EMPTY = Checkpoint(0, Position(), [])
KEYS = feed_keys(CONVERSATION)
RUNNING = [events.created(a_turn(1)), events.started(a_turn(1))]


class Reading:
    """The store, as whoever begins a log reads it; ``then`` happens between that and the next."""

    def __init__(self, *checkpoints: Checkpoint) -> None:
        self._checkpoints = list(checkpoints) or [EMPTY]
        self.reads = 0

    async def __call__(self) -> Checkpoint:
        self.reads += 1
        await asyncio.sleep(0)
        return self._checkpoints[min(self.reads, len(self._checkpoints)) - 1]


async def begun(logs: SharedLogs, checkpoint: Checkpoint = EMPTY) -> Log:
    await logs.begin(CONVERSATION, Reading(checkpoint))
    return await found(logs)


async def found(logs: SharedLogs) -> Log:
    log = await logs.tail(CONVERSATION)
    assert log is not None
    return log


async def append(logs: SharedLogs, *told: events.Event | Write) -> list[str]:
    """The status and the verdicts."""
    writes = [each if isinstance(each, Write) else Write(each) for each in told]
    status, _, _, *verdicts = await logs.append(CONVERSATION, writes)
    return [status.decode(), *(verdict.decode() for verdict in verdicts)]


async def say(
    logs: SharedLogs, count: int, text: str = "x", *, first: int = 0, said_every: int = 0
) -> str:
    """So many deltas of a turn that runs; all of its text."""
    all_of_it = ""
    writes = []
    for index in range(first, first + count):
        all_of_it += text
        keeps = said_every and (index + 1) % said_every == 0
        delta = events.delta(a_turn(1), index, text)
        writes.append(Write(delta, said=all_of_it if keeps else ""))
    for at in range(0, len(writes), MOST_TOGETHER):
        answer = await append(logs, *writes[at : at + MOST_TOGETHER])
        assert set(answer) == {"ok", "take"}
    return all_of_it


class Ear:
    def __init__(self) -> None:
        self.heard: list[Heard | None] = []

    def __call__(self, heard: Heard | None) -> None:
        self.heard.append(heard)

    async def hears(self, count: int) -> list[Heard | None]:
        await wait_until(lambda: len(self.heard) >= count, f"{count} things are heard")
        return self.heard
