"""A server's feeds, so many of them followed: ``python -m benchmarks.growing_feeds REDIS COUNT``.

With what the server does about them from time to time, and its memory; the permanent store and the
readers' sockets are left out. Reads lines, each a command, and answers each with a line of JSON:
the seconds and the CPU of this process, for one event or one opening.

- ``tell``: deltas to conversations by chance, until all are told;
- ``open``: a second reader comes to conversations by chance;
- ``rest``: a while without either.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from benchmarks.samples import EveryConversation, new_turn
from benchmarks.timing import settle_garbage_collector
from memory import RedisConversationMemory
from memory.records import Conversation, Position, Turn
from server.edge.connections import Connection
from server.feed.feeds import Feeds
from server.feed.upkeep import Upkeep
from server.tasks import Tasks

TURNS = 25
STANDING = Position(turn=TURNS, answers=TURNS)
AT_ONCE = 64
TOGETHER = 5
"""Conversations that are told something at a time. As many more there must be at least."""
DELTAS = 60
OPENS = 60
REST_SECONDS = 3.0
TEXT = "some words of an answer, as they are said".ljust(40)
PATIENCE_SECONDS = 60.0


class Growing:
    def __init__(self, redis_url: str, count: int) -> None:
        store = EveryConversation(TURNS)
        self._memory = RedisConversationMemory(2 * TURNS, redis_url, archive=store)
        self._feeds = Feeds(
            self._deliver, store, self._memory, redis_url=redis_url, server=f"growing-{count}"
        )
        self._names = [f"conversation-{place}" for place in range(count)]
        self._answered: dict[str, tuple[Turn, Iterator[int]]] = {}
        self._visitor = Connection("visitor", "user", guest=True)
        self._told = 0
        self._expected = 0
        self._all_told = asyncio.Event()

    async def open_all(self, stack: AsyncExitStack) -> None:
        await self._memory.connect()
        stack.push_async_callback(self._memory.close)
        await self._feeds.connect()
        stack.push_async_callback(self._feeds.close)
        left = iter(self._names)

        async def follow() -> None:
            for name in left:
                await self._open(Connection(name, "user", guest=True), name)

        await asyncio.gather(*(follow() for _ in range(AT_ONCE)))
        upkeep = Upkeep(self._feeds, lambda _: True, self._positions, self._feeds.forget)
        tasks = Tasks()
        stack.push_async_callback(tasks.close)
        tasks.start(upkeep.look_elsewhere_forever(), "feeds of other servers")
        tasks.start(upkeep.compare_forever(), "feeds compared")
        tasks.start(upkeep.look_for_unheard_forever(), "feeds heard")
        tasks.start(upkeep.let_go_forever(), "feeds let go")

    async def tell(self) -> int:
        names = random.sample(self._names[: len(self._names) // 2], TOGETHER)
        for name in names:
            if name not in self._answered:
                turn = new_turn(name, TURNS + 1)
                self._expected += 2
                self._feeds.started(turn)
                self._answered[name] = turn, iter(range(1_000_000))
        for _ in range(DELTAS):
            self._expected += len(names)
            self._all_told.clear()
            for name in names:
                turn, index = self._answered[name]
                self._feeds.delta(turn, next(index), TEXT)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._all_told.wait()
        return DELTAS * len(names)

    async def open(self) -> int:
        # Where nothing is being answered: what an answer has said makes a snapshot longer.
        for name in random.choices(self._names[len(self._names) // 2 :], k=OPENS):
            await self._open(self._visitor, name)
            self._feeds.leave(self._visitor, name)
        return OPENS

    async def rest(self) -> int:
        await asyncio.sleep(REST_SECONDS)
        return 1

    async def _open(self, connection: Connection, name: str) -> None:
        conversation = Conversation(
            id=name, user_id="user", title="", created_at=1, updated_at=1, position=STANDING
        )
        opening = await self._feeds.open(connection, conversation, None)
        opening.release()
        assert len(opening.messages or ()) == 2 * TURNS, "a snapshot lacks messages"

    async def _positions(self, names: Collection[str]) -> Mapping[str, Position]:
        return dict.fromkeys(names, STANDING)

    def _deliver(self, event: str, payload: dict[str, Any], sids: list[str]) -> None:
        self._told += len(sids)
        if self._told >= self._expected:
            self._all_told.set()


async def measured(work: Callable[[], Awaitable[int]]) -> dict[str, float]:
    began, used = time.perf_counter(), time.process_time()
    times = await work()
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    return {"seconds": seconds / times, "cpu": cpu / times}


async def main(redis_url: str, count: int) -> None:
    async with AsyncExitStack() as stack:
        growing = Growing(redis_url, count)
        await growing.open_all(stack)
        works = {"tell": growing.tell, "open": growing.open, "rest": growing.rest}
        settle_garbage_collector()
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await measured(works[line.strip()])), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2])))
